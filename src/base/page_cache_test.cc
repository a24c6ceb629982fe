#include "base/page_cache.h"

#include <string>

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "base/fake_root.h"

namespace shoehorn {
namespace {

constexpr std::size_t kMiB = 1 << 20;

TEST(InPageCache, KnowsWhatWasWrittenAndWhatWasDropped) {
  FakeRoot folder;
  folder.write("weights", std::string(3 * kMiB, 'w'));
  const File file(folder.path() / "weights");
  EXPECT_TRUE(in_page_cache(file, 0, file.size()));
  EXPECT_TRUE(in_page_cache(file, 5, 0));
  ::fsync(file.fd());
  file.drop_pages(0, file.size());
  if (in_page_cache(file, kMiB, 1)) GTEST_SKIP() << "a file system that lies in memory";
  EXPECT_FALSE(in_page_cache(file, 0, file.size()));
  // Asking brought nothing in.
  EXPECT_FALSE(in_page_cache(file, 0, file.size()));
  std::string text(kMiB, '\0');
  ::posix_fadvise(file.fd(), 0, 0, POSIX_FADV_RANDOM);  // nothing beyond what is read
  file.read_at(0, std::as_writable_bytes(std::span(text)));
  EXPECT_TRUE(in_page_cache(file, 100, kMiB - 200));
  EXPECT_FALSE(in_page_cache(file, 0, 3 * kMiB));
}

}  // namespace
}  // namespace shoehorn
