#include "checkpoint/pickle_machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "shoehorn/error.h"

#include "checkpoint/testing_files.h"
#include "checkpoint/testing_torch.h"

namespace shoehorn::pickle {
namespace {

namespace pkl = shoehorn::testing::pkl;
using ::testing::AllOf;
using ::testing::HasSubstr;
using namespace std::string_literals;  // pickles hold zeros

Pickle read(const std::string& file) {
  return read_pickle(source_of("m.bin", shoehorn::testing::as_bytes(file)), 0, file.size(),
                     "data.pkl");
}
const Value& root(const Pickle& pickle) {
  return pickle.at(pickle.root);
}
template <typename E = FormatError>
std::string refusal(const std::string& body) {
  return shoehorn::testing::message_of<E>([&] { read(pkl::file(body)); });
}
std::int64_t integer_of(const std::string& body) {
  return root(read(pkl::file(body))).integer();
}

TEST(ReadPickle, ReadsIntegersOfEverySize) {
  EXPECT_EQ(integer_of("K\xff"), 255);
  EXPECT_EQ(integer_of("M\x01\x80"), 0x8001);
  EXPECT_EQ(integer_of("J\xfe\xff\xff\xff"), -2);
  EXPECT_EQ(integer_of("I-12\n"), -12);
  EXPECT_EQ(integer_of("L123456789012L\n"), 123456789012);
  EXPECT_EQ(integer_of("\x8a\x00"s), 0);
  EXPECT_EQ(integer_of("\x8a\x01\xff"s), -1);
  EXPECT_EQ(integer_of("\x8a\x02\xff\x00"s), 255);
  EXPECT_EQ(integer_of("\x8a\x08\x00\x00\x00\x00\x00\x00\x00\x80"s), INT64_MIN);
  EXPECT_EQ(root(read(pkl::file("\x8a\x09\x00\x00\x00\x00\x00\x00\x00\x80\x00"s))).kind,
            Kind::kBigInteger);
}

TEST(ReadPickle, ReadsFloatsAndBools) {
  EXPECT_EQ(std::get<double>(root(read(pkl::file("G\x3f\xf8\0\0\0\0\0\0"s))).data), 1.5);
  EXPECT_EQ(std::get<double>(root(read(pkl::file("F-2.5\n"))).data), -2.5);
  EXPECT_EQ(root(read(pkl::file("\x88"))).kind, Kind::kBool);
  EXPECT_EQ(integer_of("I01\n"), 1);
}

TEST(ReadPickle, BuildsNestedContainers) {
  const Pickle pickle = read(pkl::file(pkl::dict({{"a",
                                                   "](K\x01K\x02"
                                                   "e"},
                                                  {"b", ")"}})));
  const Value& dict = root(pickle);
  ASSERT_EQ(dict.kind, Kind::kDict);
  ASSERT_EQ(dict.items().size(), 4U);
  EXPECT_EQ(pickle.at(dict.items()[0]).text(), "a");
  const Value& list = pickle.at(dict.items()[1]);
  ASSERT_EQ(list.items().size(), 2U);
  EXPECT_EQ(pickle.at(list.items()[1]).integer(), 2);
  EXPECT_EQ(pickle.at(dict.items()[3]).kind, Kind::kTuple);
}

TEST(ReadPickle, ReadsProtocol4) {
  // pickle.dumps({"k": ("v", "v")}, 4)
  const Pickle pickle = read(
      "\x80\x04\x95\x0e\0\0\0\0\0\0\0}\x94\x8c\x01k\x94\x8c\x01v\x94h\x02"
      "\x86\x94s."s);
  const Value& pair = pickle.at(root(pickle).items()[1]);
  EXPECT_EQ(pair.items()[0], pair.items()[1]);
  EXPECT_EQ(pickle.at(pair.items()[0]).text(), "v");
  EXPECT_EQ(pickle.end, 27U);
}

TEST(ReadPickle, ReadsTheMemoInAnyOrder) {
  EXPECT_EQ(integer_of("K\x07r\xff\xff\xff\xff"
                       "0K\x08q\x00"
                       "0j\xff\xff\xff\xff"s),
            7);
  EXPECT_EQ(integer_of("K\x07p5\n0g5\n"), 7);
  EXPECT_THAT(refusal("h\x05"), HasSubstr("memo 5 was never set"));
}

TEST(ReadPickle, ReadsBothFormsOfOrderedDict) {
  const std::string ordered = pkl::global("collections", "OrderedDict");
  EXPECT_EQ(root(read(pkl::file(ordered + ")R"))).items().size(), 0U);
  const Pickle pairs = read(pkl::file(ordered + "(]]K\x01"
                                                "aK\x02"
                                                "aatR"));
  ASSERT_EQ(root(pairs).kind, Kind::kDict);
  EXPECT_EQ(pairs.at(root(pairs).items()[1]).integer(), 2);
  // state_dict()._metadata
  EXPECT_EQ(root(read(pkl::file(ordered + ")R" + pkl::dict({{"_metadata", "}"}}) + "b"))).kind,
            Kind::kDict);
}

// What an attacker would have run.
TEST(ReadPickle, RefusesGlobalsByName) {
  const std::string attack = pkl::global("os", "system") + "(" + pkl::text("touch /tmp/x") + "tR";
  EXPECT_THAT(refusal<UnsupportedError>(attack),
              AllOf(HasSubstr("m.bin: data.pkl: asks for the global os.system"),
                    HasSubstr("nothing in it is ever executed")));
  EXPECT_THAT(refusal<UnsupportedError>(pkl::global("posix", "system")), HasSubstr("posix.system"));
  EXPECT_THAT(refusal<UnsupportedError>(pkl::global("builtins", "eval")), HasSubstr("eval"));
  EXPECT_THAT(refusal<UnsupportedError>(pkl::global("torch._utils", "_rebuild_sparse_tensor")),
              HasSubstr("torch._utils._rebuild_sparse_tensor"));
  EXPECT_THAT(refusal<UnsupportedError>(pkl::text("os") + pkl::text("system") + "\x93"),
              HasSubstr("os.system"));
}

TEST(ReadPickle, RefusesOpcodesByName) {
  EXPECT_THAT(refusal<UnsupportedError>("(ios\nsystem\n"), HasSubstr("opcode INST"));
  EXPECT_THAT(refusal<UnsupportedError>("(" + pkl::global("torch", "Size") + "o"),
              HasSubstr("opcode OBJ"));
  EXPECT_THAT(refusal<UnsupportedError>(pkl::global("torch", "Size") + ")\x81"),
              HasSubstr("opcode NEWOBJ"));
  EXPECT_THAT(refusal<UnsupportedError>("\x82\x01"), HasSubstr("opcode EXT1"));
  EXPECT_THAT(refusal<UnsupportedError>("\x8f"), HasSubstr("opcode EMPTY_SET"));
  EXPECT_THAT(refusal<UnsupportedError>("Pid\n"), HasSubstr("opcode PERSID"));
  EXPECT_THAT(refusal<UnsupportedError>("S'x'\n"), HasSubstr("opcode STRING"));
  EXPECT_THAT(refusal("\xff"), HasSubstr("no pickle opcode 255"));
}

TEST(ReadPickle, RefusesCallsOfWhatIsNoFunction) {
  EXPECT_THAT(refusal(pkl::text("os.system") + ")R"), HasSubstr("REDUCE calls a string"));
  EXPECT_THAT(refusal<UnsupportedError>(pkl::global("torch", "FloatStorage") + ")R"),
              HasSubstr("a call of a torch type"));
  EXPECT_THAT(refusal<UnsupportedError>(pkl::text("x") + "}b"), HasSubstr("BUILD"));
}

TEST(ReadPickle, RefusesItemsWhereThereIsNoContainer) {
  EXPECT_THAT(refusal("]K\x01K\x02s"), HasSubstr("SETITEM on a list in place of a dict"));
  EXPECT_THAT(refusal("K\x01(K\x01K\x02u"), HasSubstr("SETITEM on an int"));
  EXPECT_THAT(refusal("}K\x01"
                      "a"),
              HasSubstr("APPEND on a dict in place of a list"));
  EXPECT_THAT(refusal("}(K\x01u"), HasSubstr("a key has no value"));
}

TEST(ReadPickle, RefusesAStackThatDoesNotAddUp) {
  EXPECT_THAT(refusal(""), HasSubstr("takes more values than there are"));
  EXPECT_THAT(refusal("K\x01K\x02"), HasSubstr("STOP leaves values behind"));
  EXPECT_THAT(refusal("(K\x01"), HasSubstr("STOP leaves values behind"));
  EXPECT_THAT(refusal("K\x01t"), HasSubstr("no MARK"));
  EXPECT_THAT(refusal("K\x01(\x85"), HasSubstr("takes more values"));  // not through a MARK
}

TEST(ReadPickle, RefusesWhatEndsEarly) {
  const std::string whole = pkl::file(pkl::dict({{"abc", pkl::integer(5)}}));
  for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
    EXPECT_THROW(read(whole.substr(0, bytes)), FormatError) << bytes;
  }
  EXPECT_THAT(refusal("X\xff\xff\xff\xff"
                      "abc"),
              HasSubstr("ends in the middle"));
  EXPECT_THAT(refusal("\x8d\xff\xff\xff\xff\xff\xff\xff\xff"), HasSubstr("ends in the middle"));
}

// Each list holds the one before ten times: 10^24 leaves for whoever walks over them, 25 values
// here.
TEST(ReadPickle, HoldsAMemoBombAsWhatItIs) {
  std::string body = "]q\x00"s;
  for (char level = 1; level < 25; ++level) {
    body += "](";
    for (int i = 0; i < 10; ++i) body += std::string("h") + static_cast<char>(level - 1);
    body += std::string("eq") + level;
  }
  const Pickle pickle = read(pkl::file("(" + body + "t"));
  EXPECT_EQ(root(pickle).items().size(), 25U);
  EXPECT_LT(pickle.values.size(), 300U);
}

TEST(ReadPickle, HoldsAListThatHoldsItself) {
  const Pickle pickle =
      read(pkl::file("]q\x00h\x00"
                     "a"s));
  EXPECT_EQ(root(pickle).items()[0], pickle.root);
}

TEST(ReadPickle, BoundsWhatItAllocates) {
  EXPECT_THAT(refusal(std::string(5 << 20, ']')), HasSubstr("values"));
  EXPECT_THAT(refusal("N" + std::string(5 << 20, '2')), HasSubstr("values at once"));
  EXPECT_THAT(refusal("N" + std::string(5 << 20, '\x94')), HasSubstr("memos"));
  EXPECT_THAT(refusal(std::string(5 << 20, '(')), HasSubstr("marks"));
  // A list of 100,000 pairs that 1,000 dicts are made of.
  std::string body = "]q\x00("s;
  for (int i = 0; i < 100000; ++i) body += "NN\x86";
  body += "e0";
  for (int i = 0; i < 1000; ++i) body += pkl::global("collections", "OrderedDict") + "h\x00\x85R"s;
  EXPECT_THAT(refusal(body), HasSubstr("pairs"));
}

}  // namespace
}  // namespace shoehorn::pickle
