// SPDX-License-Identifier: Apache-2.0
// The opcodes of Python pickles, protocols 0 to 5: what each takes from the stack and pushes.
#include <array>
#include <bit>

#include "models/pickle_machine.h"

namespace elek::pickle {

namespace {

struct Opcode {
  unsigned char code;
  void (*run)(Reader& r);
};

double big_endian_double(uint64_t bits) {
  uint64_t swapped = 0;
  for (int i = 0; i < 8; ++i) swapped |= ((bits >> (8 * i)) & 0xff) << (56 - 8 * i);
  return std::bit_cast<double>(swapped);
}

size_t non_negative(Reader& r, int32_t length) {
  if (length < 0) r.fail("a length is negative");
  return static_cast<size_t>(length);
}

constexpr auto kOpcodes = std::to_array<Opcode>({
    // numbers
    {'N', [](Reader& r) { r.push(kNothing); }},
    {0x88, [](Reader& r) { r.push({Kind::kBool, 1, 0, {}, {}}); }},
    {0x89, [](Reader& r) { r.push({Kind::kBool, 0, 0, {}, {}}); }},
    {'I', [](Reader& r) { r.push_int_line(); }},
    {'L', [](Reader& r) { r.push_long_line(); }},
    {'J', [](Reader& r) { r.push_int(r.number<int32_t>()); }},
    {'K', [](Reader& r) { r.push_int(r.number<uint8_t>()); }},
    {'M', [](Reader& r) { r.push_int(r.number<uint16_t>()); }},
    {0x8a, [](Reader& r) { r.push_long(r.number<uint8_t>()); }},
    {0x8b, [](Reader& r) { r.push_long(non_negative(r, r.number<int32_t>())); }},
    {'F', [](Reader& r) { r.push({Kind::kFloat, 0, r.number_in<double>(r.line()), {}, {}}); }},
    {'G', [](Reader& r) { r.push({Kind::kFloat, 0, big_endian_double(r.number<uint64_t>()), {}, {}}); }},
    // texts
    {'S', [](Reader& r) { r.push_string_line(); }},
    {'V', [](Reader& r) { r.push_unicode_line(); }},
    {'T', [](Reader& r) { r.push_text(Kind::kBytes, r.take(non_negative(r, r.number<int32_t>()))); }},
    {'U', [](Reader& r) { r.push_text(Kind::kBytes, r.take(r.number<uint8_t>())); }},
    {'B', [](Reader& r) { r.push_text(Kind::kBytes, r.take(r.number<uint32_t>())); }},
    {'C', [](Reader& r) { r.push_text(Kind::kBytes, r.take(r.number<uint8_t>())); }},
    {0x8e, [](Reader& r) { r.push_text(Kind::kBytes, r.take(r.number<uint64_t>())); }},
    {0x96, [](Reader& r) { r.push_text(Kind::kBytes, r.take(r.number<uint64_t>())); }},
    {'X', [](Reader& r) { r.push_text(Kind::kText, r.take(r.number<uint32_t>())); }},
    {0x8c, [](Reader& r) { r.push_text(Kind::kText, r.take(r.number<uint8_t>())); }},
    {0x8d, [](Reader& r) { r.push_text(Kind::kText, r.take(r.number<uint64_t>())); }},
    // lists, tuples, dicts, sets
    {'(', [](Reader& r) { r.mark(); }},
    {'0', [](Reader& r) { r.pop_one_more(); }},
    {'1', [](Reader& r) { static_cast<void>(r.pop_to_mark()); }},
    {'2', [](Reader& r) { r.push(r.top()); }},
    {')', [](Reader& r) { r.push(r.tuple_of({})); }},
    {'t', [](Reader& r) { r.push(r.tuple_of(r.pop_to_mark())); }},
    {0x85, [](Reader& r) { r.push(r.tuple_of(r.pop_items(1))); }},
    {0x86, [](Reader& r) { r.push(r.tuple_of(r.pop_items(2))); }},
    {0x87, [](Reader& r) { r.push(r.tuple_of(r.pop_items(3))); }},
    {']', [](Reader& r) { r.push({Kind::kList, 0, 0, {}, {}}); }},
    {'l', [](Reader& r) { r.push({Kind::kList, 0, 0, {}, r.pop_to_mark()}); }},
    {'a', [](Reader& r) { r.extend(Kind::kList, r.pop_items(1)); }},
    {'e', [](Reader& r) { r.extend(Kind::kList, r.pop_to_mark()); }},
    {'}', [](Reader& r) { r.push_dict({}); }},
    {'d', [](Reader& r) { r.push_dict(r.pop_to_mark()); }},
    {'s', [](Reader& r) { r.extend(Kind::kDict, r.pop_items(2)); }},
    {'u', [](Reader& r) { r.extend(Kind::kDict, r.pop_to_mark()); }},
    {0x8f, [](Reader& r) { r.push({Kind::kSet, 0, 0, {}, {}}); }},
    {0x91, [](Reader& r) { r.push({Kind::kSet, 0, 0, {}, r.pop_to_mark()}); }},
    {0x90, [](Reader& r) { r.extend(Kind::kSet, r.pop_to_mark()); }},
    // objects
    {'c',
     [](Reader& r) {
       const std::string_view module = r.line();
       r.push_global(module, r.line());
     }},
    {0x93, [](Reader& r) { r.push_named_global(); }},
    {'R', [](Reader& r) { r.reduce(); }},
    {0x81, [](Reader& r) { r.reduce(); }},
    {0x92, [](Reader& r) { r.new_object_with_keywords(); }},
    {'i', [](Reader& r) { r.instance(); }},
    {'o', [](Reader& r) { r.object_of_items(); }},
    {'b', [](Reader& r) { r.build(); }},
    {'Q', [](Reader& r) { r.push({Kind::kPersistent, 0, 0, {}, r.pop_items(1)}); }},
    {'P',
     [](Reader& r) {
       r.push_text(Kind::kText, r.line());
       r.push({Kind::kPersistent, 0, 0, {}, r.pop_items(1)});
     }},
    {0x82, [](Reader& r) { r.fail("it names a class by a number of Python's registry, which elek does not know"); }},
    {0x83, [](Reader& r) { r.fail("it names a class by a number of Python's registry, which elek does not know"); }},
    {0x84, [](Reader& r) { r.fail("it names a class by a number of Python's registry, which elek does not know"); }},
    {0x97, [](Reader& r) { r.fail("its data lie in a buffer outside of the file"); }},
    {0x98, [](Reader& r) { static_cast<void>(r.top()); }},
    // memo and frame
    {'p', [](Reader& r) { r.remember(r.number_in<uint64_t>(r.line())); }},
    {'q', [](Reader& r) { r.remember(r.number<uint8_t>()); }},
    {'r', [](Reader& r) { r.remember(r.number<uint32_t>()); }},
    {0x94, [](Reader& r) { r.memoize(); }},
    {'g', [](Reader& r) { r.recall(r.number_in<uint64_t>(r.line())); }},
    {'h', [](Reader& r) { r.recall(r.number<uint8_t>()); }},
    {'j', [](Reader& r) { r.recall(r.number<uint32_t>()); }},
    {0x80,
     [](Reader& r) {
       if (const int protocol = r.number<uint8_t>(); protocol > 5) r.fail("protocol " + std::to_string(protocol));
     }},
    {0x95, [](Reader& r) { static_cast<void>(r.number<uint64_t>()); }},
    {'.', [](Reader& r) { r.finish(); }},
});

constexpr auto kTable = [] {
  std::array<void (*)(Reader&), 256> table{};
  for (const Opcode& opcode : kOpcodes) table[opcode.code] = opcode.run;
  return table;
}();

}  // namespace

Document Reader::read() {
  while (!done_) {
    opcode_at_ = at_;
    const auto code = number<uint8_t>();
    if (kTable[code] == nullptr) fail("the opcode " + std::to_string(code) + " does not exist");
    kTable[code](*this);
  }
  return std::move(document_);
}

Document Document::read(std::span<const std::byte> bytes, size_t start, const std::string& where, const Limits& limits) {
  return Reader(bytes, start, where, limits).read();
}

}  // namespace elek::pickle
