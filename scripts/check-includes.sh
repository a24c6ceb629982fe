#!/usr/bin/env bash
# The include-order check: a folder of src/ includes itself and the folders below it, public headers
# include public headers, and what stands on the library includes public headers and its own.
# Prints every line that breaks this and exits 1.
set -euo pipefail
cd "$(dirname "$0")/.."

{
  find src include cli server python examples -type f \
    \( -name '*.h' -o -name '*.cc' -o -name '*.cu' -o -name '*.cpp' \) 2>/dev/null || true
} | LC_ALL=C sort | xargs -r grep -Hn '^[[:space:]]*#[[:space:]]*include' | awk '
  BEGIN {
    # A floor a number; text and quant share one and know nothing of each other.
    floors = "base tensor cuda,text,quant kernels checkpoint hub,plan weights model generate train api"
    count = split(floors, floor, " ")
    for (i = 1; i <= count; ++i) {
      members = split(floor[i], member, ",")
      for (j = 1; j <= members; ++j) level[member[j]] = i
    }
  }
  function wrong(why) {
    printf "%s:%s: %s: %s\n", file, line, text, why
    failed = 1
  }
  {
    match($0, /^[^:]*:[0-9]+:/)
    split(substr($0, 1, RLENGTH), where, ":")
    file = where[1]; line = where[2]; text = substr($0, RLENGTH + 1)
    split(file, path, "/")
    area = path[1]
    quoted = match(text, /"[^"]*"/)
    if (!quoted) {
      if (text ~ /<shoehorn\// && area != "examples") wrong("write \"shoehorn/...\" in quotes")
      next
    }
    target = substr(text, RSTART + 1, RLENGTH - 2)
    if (!index(target, "/")) {
      # A frontend is one flat folder; files of the library say where they are.
      if (area == "src" || area == "include") wrong("name the folder too")
      next
    }
    split(target, part, "/")
    to = part[1]
    if (area == "include") {
      if (to != "shoehorn") wrong("public headers include public headers only")
    } else if (area == "src") {
      from = path[2]
      if (!(from in level)) { wrong("src/" from " is no folder of the design"); next }
      if (to == "shoehorn" || to == from) next
      if (!(to in level)) wrong("src has no folder " to)
      else if (level[to] >= level[from]) wrong("src/" from " stands below src/" to " or beside it")
    } else if (to != "shoehorn" && to != area) {
      wrong(area "/ uses the public headers only")
    }
  }
  END { exit failed }'
