#include "base/digest.h"

#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace shoehorn {
namespace {

template <typename Hash>
std::string digest(std::string_view text, std::size_t piece = 1000) {
  Hash hash;
  for (std::size_t at = 0; at < text.size(); at += piece) {
    hash.update(std::as_bytes(std::span(text.substr(at, piece))));
  }
  return hash.hex_digest();
}

// FIPS 180-4's own examples, from the test vectors that NIST publishes.
TEST(Sha256, AgreesWithTheStandardsExamples) {
  EXPECT_EQ(digest<Sha256>(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(digest<Sha256>("abc"),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(digest<Sha256>("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq"),
            "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  EXPECT_EQ(digest<Sha256>(std::string(1000000, 'a')),
            "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST(Sha1, AgreesWithTheStandardsExamples) {
  EXPECT_EQ(digest<Sha1>(""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
  EXPECT_EQ(digest<Sha1>("abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
  EXPECT_EQ(digest<Sha1>(std::string(1000000, 'a')), "34aa973cd4c4daa4f61eeb2bdbad27316534016f");
}

TEST(Sha256, DoesNotDependOnThePieces) {
  const std::string text(300, 'x');
  const std::string whole = digest<Sha256>(text);
  for (std::size_t piece = 1; piece < 140; ++piece) {
    EXPECT_EQ(digest<Sha256>(text, piece), whole) << piece;
  }
}

}  // namespace
}  // namespace shoehorn
