// SPDX-License-Identifier: Apache-2.0
// Python pickles as values: each opcode by a pickle written by hand, and what a damaged one is refused for. Whole files of
// PyTorch and NumPy in protocols 0 to 5 are in torch_file_test.cpp.
#include "models/pickle.h"

#include <gmock/gmock.h>

#include <bit>

#include "tests/models/files.h"

namespace elek::pickle {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string nul(size_t count) { return std::string(count, '\0'); }

/// A pickle and the bytes that it refers to.
struct Pickle {
  explicit Pickle(std::string text, const Limits& limits = {})
      : bytes(std::move(text)), document(Document::read(std::as_bytes(std::span<const char>(bytes)), 0, "test.pkl", limits)) {}
  [[nodiscard]] const Value& root() const { return document[document.root()]; }
  [[nodiscard]] std::string describe() const { return document.describe(document.root()); }
  std::string bytes;
  Document document;
};

std::string refused(const std::string& bytes) {
  return test::message_of<InputError>([&] { (void)Pickle(bytes); });
}

TEST(Pickle, Numbers) {
  const auto integer = [](const std::string& text) { return Pickle(text).root().integer; };
  EXPECT_EQ(integer("I-42\n."), -42);
  EXPECT_EQ(integer("L42L\n."), 42);
  EXPECT_EQ(integer("K\xff."), 255);
  EXPECT_EQ(integer("M\x01\x02."), 513);
  EXPECT_EQ(integer("J\xff\xff\xff\xff."), -1);
  EXPECT_EQ(integer("\x8a" + nul(1) + "."), 0);
  EXPECT_EQ(integer("\x8a\x01\x80."), -128);
  EXPECT_EQ(integer("\x8a\x02\xff" + nul(1) + "."), 255);
  EXPECT_EQ(integer("\x8a\x08" + std::string(7, '\xff') + "\x7f."), INT64_MAX);
  EXPECT_EQ(integer("\x8b\x01" + nul(3) + "\x07."), 7);
  EXPECT_EQ(Pickle("\x8a\x09" + std::string(9, '\x01') + ".").root().kind, Kind::kBigInt);
  EXPECT_EQ(Pickle("L99999999999999999999L\n.").root().kind, Kind::kBigInt);
  EXPECT_EQ(Pickle("F-1.5e3\n.").root().number, -1500.0);
  EXPECT_EQ(Pickle("G\x3f\xf8" + nul(6) + ".").root().number, 1.5);
  EXPECT_EQ(Pickle("I01\n.").root().kind, Kind::kBool);
  EXPECT_EQ(Pickle("\x88.").describe(), "True");
  EXPECT_EQ(Pickle("\x89.").describe(), "False");
  EXPECT_EQ(Pickle("N.").describe(), "None");
}

TEST(Pickle, Texts) {
  const auto text = [](const std::string& pickle) { return std::string(Pickle(pickle).root().text); };
  EXPECT_EQ(text("S'a\\'\\x41\\n\\\\'\n."), "a'A\n\\");
  EXPECT_EQ(text("V\\u00e9\\U0001f600x\xe9\n."), "\xc3\xa9\xf0\x9f\x98\x80x\xc3\xa9");
  EXPECT_EQ(text("T\x02" + nul(3) + "ab."), "ab");
  EXPECT_EQ(text("U\x02"
                 "ab."),
            "ab");
  EXPECT_EQ(text("X\x02" + nul(3) + "ab."), "ab");
  EXPECT_EQ(text("\x8c\x02"
                 "ab."),
            "ab");
  EXPECT_EQ(text("\x8d\x02" + nul(7) + "ab."), "ab");
  EXPECT_EQ(text("B\x02" + nul(3) + "ab."), "ab");
  EXPECT_EQ(text("C\x02"
                 "ab."),
            "ab");
  EXPECT_EQ(text("\x8e\x02" + nul(7) + "ab."), "ab");
  EXPECT_EQ(text("\x96\x02" + nul(7) + "ab."), "ab");
  EXPECT_EQ(Pickle("C\x01"
                   "a.")
                .root()
                .kind,
            Kind::kBytes);
  EXPECT_EQ(Pickle("\x8c\x01"
                   "a.")
                .root()
                .kind,
            Kind::kText);
}

TEST(Pickle, ContainersAndTheMemo) {
  const Pickle list("\x80\x04\x95" + nul(8) +
                    "]\x94(K\x01K\x02"
                    "e.");
  EXPECT_EQ(list.describe(), "a list of 2");
  const Pickle dict(
      "}q\x05(U\x01"
      "aK\x01U\x01"
      "bK\x02uU\x01"
      "aK\x03s0h\x05.");  // a = 1, b = 2, then a = 3
  EXPECT_EQ(dict.document.integer(*dict.document.find(dict.document.root(), "a")), 3);
  EXPECT_EQ(dict.document.find(dict.document.root(), "c"), std::nullopt);
  EXPECT_EQ(Pickle("(K\x01U\x01"
                   "ad.")
                .describe(),
            "a dict of 1");
  EXPECT_EQ(Pickle("(K\x01K\x02t.").describe(), "a tuple of 2");
  EXPECT_EQ(Pickle("K\x01K\x02\x86.").describe(), "a tuple of 2");
  EXPECT_EQ(Pickle(").").describe(), "a tuple of 0");
  EXPECT_EQ(Pickle("(K\x01l.").describe(), "a list of 1");
  EXPECT_EQ(Pickle("\x8f(K\x01\x90.").describe(), "a set of 1");
  EXPECT_EQ(Pickle("(K\x01\x91.").describe(), "a set of 1");
  EXPECT_EQ(Pickle("(K\x01(K\x02K\x03"
                   "10t.")
                .describe(),
            "a tuple of 0");  // POP_MARK, then POP of the 1
  EXPECT_EQ(Pickle("K\x07p3\n0g3\n.").describe(), "the number 7");
}

TEST(Pickle, ObjectsAreNotesOfWhatWouldBeCalled) {
  const Pickle call("cos\nsystem\nU\x02ls\x85R.");
  EXPECT_EQ(call.describe(), "an object of \"os.system\"");
  EXPECT_EQ(call.document.text(call.document.elements(call.document.arguments(call.document.root()))[0]), "ls");
  EXPECT_EQ(Pickle("\x8c\x02os\x8c\x06system\x93.").describe(), "the class or function \"os.system\"");
  EXPECT_EQ(Pickle("(U\x02lsios\nsystem\n.").describe(), "an object of \"os.system\"");
  EXPECT_EQ(Pickle("(cos\nsystem\nU\x02lso.").describe(), "an object of \"os.system\"");
  const Pickle state("ca\nB\n)\x81}U\x01xK\x05sb.");
  const Document& document = state.document;
  EXPECT_EQ(document.integer(*document.find(document.state(document.root()), "x")), 5);
  const Pickle ordered("ccollections\nOrderedDict\n)RU\x01kK\x06s.");
  EXPECT_EQ(ordered.document.integer(*ordered.document.find(ordered.document.root(), "k")), 6);
  const Pickle list(
      "ca\nList\n)R(K\x01K\x02"
      "e.");
  EXPECT_EQ(list.document.elements(list.document.root()).size(), 2U);
  const Pickle persistent("P123\n.");
  EXPECT_EQ(persistent.document.text(persistent.root().items[0]), "123");
  EXPECT_EQ(Pickle("U\x01xQ.").root().kind, Kind::kPersistent);
}

TEST(Pickle, SeveralFollowEachOther) {
  const std::string bytes = "K\x01.K\x02.";
  const auto span = std::as_bytes(std::span<const char>(bytes));
  const Document first = Document::read(span, 0, "test");
  EXPECT_EQ(first.end(), 3U);
  const Document second = Document::read(span, first.end(), "test");
  EXPECT_EQ(second.integer(second.root()), 2);
}

TEST(Pickle, DamageIsNamedWithItsByte) {
  EXPECT_THAT(refused("K\x01"), HasSubstr("test.pkl: truncated at byte 2"));
  EXPECT_THAT(refused(""), HasSubstr("truncated at byte 0"));
  EXPECT_THAT(refused("X\xff\xff\xff\xff"
                      "abc"),
              HasSubstr("truncated"));
  EXPECT_THAT(refused("\x8e" + std::string(8, '\xff')), HasSubstr("truncated"));
  EXPECT_THAT(refused("T\xff\xff\xff\xff"
                      "abc"),
              HasSubstr("a length is negative"));
  EXPECT_THAT(refused("K\x01\xf0."), HasSubstr("byte 2: the opcode 240 does not exist"));
  EXPECT_THAT(refused("\x80\x06N."), HasSubstr("protocol 6"));
  EXPECT_THAT(refused("."), HasSubstr("empty stack"));
  EXPECT_THAT(refused("K\x01(0K\x01(."), HasSubstr("empty stack"));
  EXPECT_THAT(refused("2."), HasSubstr("empty stack"));
  EXPECT_THAT(refused("t."), HasSubstr("no mark"));
  EXPECT_THAT(refused("(K\x01"
                      "d."),
              HasSubstr("a key without a value"));
  EXPECT_THAT(refused("NK\x01"
                      "a."),
              HasSubstr("adds items to None"));
  EXPECT_THAT(refused("}K\x01"
                      "a."),
              HasSubstr("adds items to a dict"));
  EXPECT_THAT(refused("K\x01}b."), HasSubstr("sets the state"));
  EXPECT_THAT(refused("h\x05."), HasSubstr("memo index 5"));
  EXPECT_THAT(refused("Nr\xff\xff\xff\x7f."), HasSubstr("too large"));
  EXPECT_THAT(refused("K\x01K\x01\x93."), HasSubstr("named by texts"));
  EXPECT_THAT(refused("\x82\x01."), HasSubstr("registry"));
  EXPECT_THAT(refused("Ix\n."), HasSubstr("expected a number, found \"x\""));
  EXPECT_THAT(refused("Sx\n."), HasSubstr("quotes"));
  EXPECT_THAT(test::message_of<InputError>([] { (void)Pickle("(" + std::string(100, ')') + "t.", Limits{50}); }),
              HasSubstr("more than 50 values"));
  EXPECT_THAT(test::message_of<InputError>([] { (void)Pickle(std::string(100, 'N') + ".", Limits{50}); }),
              HasSubstr("more than 50 values"));
  EXPECT_THAT(test::message_of<InputError>([] { (void)Pickle(std::string(100, '(') + ".", Limits{50}); }),
              HasSubstr("more than 50 values"));
}

TEST(Pickle, BytesThatWereWrittenAsText) {
  EXPECT_THAT(*latin1_bytes("a\xc3\xbf\xc2\x80"), ElementsAre(std::byte{'a'}, std::byte{0xff}, std::byte{0x80}));
  EXPECT_EQ(latin1_bytes("\xe2\x82\xac"), std::nullopt);  // beyond U+00FF
  EXPECT_EQ(latin1_bytes("\xc3"), std::nullopt);
  EXPECT_EQ(latin1_bytes("\xc3x"), std::nullopt);
}

}  // namespace
}  // namespace elek::pickle
