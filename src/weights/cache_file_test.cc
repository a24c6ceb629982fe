#include "weights/cache_file.h"

#include <string>

#include <gtest/gtest.h>

#include "shoehorn/error.h"

namespace shoehorn {
namespace {

const std::string kKey =
    "shoehorn weight cache 3\nfile /m/model.safetensors\nbytes 9\nchanged 7\nat 8\ntensor "
    "model.layers.0.mlp.up_proj.weight BF16 [4, 8] heads 0\nform nf4 of BF16 blocks 64 parity 0\n";

TEST(CacheHeader, ComesBackAsItWasWritten) {
  const std::string header = cache_header(kKey, 0xfedcba9876543210U);
  EXPECT_EQ(header.size(), kCacheHeaderBytes);
  const auto parsed = parse_cache_header(header);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(parsed->key, kKey);
  EXPECT_EQ(parsed->checksum, 0xfedcba9876543210U);
}

TEST(CacheHeader, WhatIsNotOursIsNotRead) {
  const std::string good = cache_header(kKey, 0xabc);
  EXPECT_FALSE(parse_cache_header(""));
  EXPECT_FALSE(parse_cache_header(good.substr(1)));
  EXPECT_FALSE(parse_cache_header(std::string(kCacheHeaderBytes, '\0')));
  EXPECT_FALSE(parse_cache_header(std::string(kCacheHeaderBytes, 'x')));
  std::string header = good;
  header.back() = '!';
  EXPECT_FALSE(parse_cache_header(header)) << "text behind the end";
  header = good;
  header.replace(header.find("checksum "), 9, "checksun ");
  EXPECT_FALSE(parse_cache_header(header));
  header = good;
  header.replace(header.find("abc\n"), 3, "ABC");
  EXPECT_FALSE(parse_cache_header(header)) << "digits that are never written";
  header = good;
  header.replace(header.find("abc\n"), 3, "abg");
  EXPECT_FALSE(parse_cache_header(header)) << "no digit";
  header = good;
  header.replace(0, 8, "elephant");
  EXPECT_FALSE(parse_cache_header(header));
}

TEST(CacheHeader, AKeyThatHasNoRoomIsRefused) {
  EXPECT_THROW(cache_header(std::string(kCacheHeaderBytes - 20, 'k'), 0), ArgumentError);
}

TEST(CacheKeyText, TellsWhatAFileHolds) {
  const CacheKeyText text = cache_key_text(kKey);
  EXPECT_EQ(text.source, "/m/model.safetensors");
  EXPECT_EQ(text.tensor, "model.layers.0.mlp.up_proj.weight");
  EXPECT_EQ(text.form, "nf4");
  EXPECT_EQ(cache_key_text("form none of BF16 blocks 64\n").form, "BF16");
  EXPECT_EQ(cache_key_text("").source, "");
}

TEST(CacheFileName, DiffersWithTheKey) {
  EXPECT_NE(cache_file_name(kKey), cache_file_name(kKey + " "));
  EXPECT_EQ(cache_file_name(kKey).size(), 16 + kCacheExtension.size());
}

}  // namespace
}  // namespace shoehorn
