# scripts/check-includes.sh finds includes that go up, sideways, or past the public headers.

mkdir -p scripts include/shoehorn src/base src/text src/quant src/plan cli
cp "$SOURCE/scripts/check-includes.sh" scripts/

echo '#include "base/file.h"' >src/plan/good.cc
printf '%s\n' '#include "shoehorn/plan.h"' '#include "flags.h"' >cli/good.cc
expect_status 0 scripts/check-includes.sh

echo '#include "plan/map.h"' >src/base/up.h
echo '#include "quant/blocks.h"' >src/text/sideways.cc
echo '#include "base/file.h"' >cli/past.cc
echo '#include "base/file.h"' >include/shoehorn/private.h
echo '#include "nameless.h"' >src/plan/nameless.cc
echo '#include "attic/old.h"' >src/plan/unknown.cc
expect_status 1 scripts/check-includes.sh
expect_text stdout 'src/base/up.h:1: #include "plan/map.h": src/base stands below src/plan or beside it'
expect_text stdout 'src/text/sideways.cc:1:'
expect_text stdout 'cli/past.cc:1:'
expect_text stdout 'include/shoehorn/private.h:1:'
expect_text stdout 'src/plan/nameless.cc:1:'
expect_text stdout 'src/plan/unknown.cc:1:'
