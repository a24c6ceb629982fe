#include "hub/url.h"

#include <gtest/gtest.h>

#include "shoehorn/error.h"

namespace shoehorn::hub {
namespace {

TEST(ParseUrl, FindsTheOrigin) {
  EXPECT_EQ(parse_url("https://Huggingface.co/a/b?c=d#e").origin(), "https://huggingface.co:443");
  EXPECT_EQ(parse_url("https://Huggingface.co/a/b?c=d#e").path, "/a/b?c=d");
  EXPECT_EQ(parse_url("http://127.0.0.1:8080").origin(), "http://127.0.0.1:8080");
  EXPECT_EQ(parse_url("http://127.0.0.1:8080").path, "/");
  EXPECT_EQ(parse_url("http://[::1]:80/x").origin(), "http://[::1]:80");
  EXPECT_EQ(parse_url("https://h:443/").text(), "https://h/");
  EXPECT_EQ(parse_url("https://h:80/").text(), "https://h:80/");
}

TEST(ParseUrl, RefusesWhatMayMeanSomebodyElse) {
  for (const char* text : {"ftp://h/", "file:///etc/passwd", "h/x", "https://good@bad/",
                           "https:///x", "https://h:/", "https://h:99999999/", "https://h:8a/",
                           "https://h/a b", "https://h/\r\nX: y", "https://a\\b/"}) {
    EXPECT_THROW(parse_url(text), FormatError) << text;
  }
}

TEST(ResolveLocation, FollowsEveryKind) {
  const Url base = parse_url("https://h:8443/a/b?q=1");
  EXPECT_EQ(resolve_location(base, "http://other/x").text(), "http://other/x");
  EXPECT_EQ(resolve_location(base, "//other/x").text(), "https://other/x");
  EXPECT_EQ(resolve_location(base, "/x?u=http://y/").text(), "https://h:8443/x?u=http://y/");
  EXPECT_EQ(resolve_location(base, "c").text(), "https://h:8443/a/c");
  EXPECT_THROW(resolve_location(base, "file:///x"), FormatError);
}

TEST(PercentEncoded, LeavesOnlyWhatIsPlain) {
  EXPECT_EQ(percent_encoded("a b/ü#?%", true), "a%20b/%C3%BC%23%3F%25");
  EXPECT_EQ(percent_encoded("refs/pr/1", false), "refs%2Fpr%2F1");
}

}  // namespace
}  // namespace shoehorn::hub
