// SPDX-License-Identifier: Apache-2.0
// An allocator of one's own under a session: allocator MODEL. It prints what the session asks for: all while it is opened.
#include <elek/elek.h>

#include <cstdio>
#include <cstdlib>

class Printing final : public elek::MemoryResource {
 public:
  [[nodiscard]] elek::Device device() const noexcept override { return {}; }
  int asked = 0;

 private:
  void* do_allocate(size_t bytes, const elek::BlockLabel& label, elek::Stream /*stream*/) override {
    const size_t rounded = (bytes + elek::kAlignment - 1) / elek::kAlignment * elek::kAlignment;
    void* const block = std::aligned_alloc(elek::kAlignment, rounded);
    if (block == nullptr) throw elek::OutOfMemory("aligned_alloc has no memory", {.requested_bytes = bytes});
    std::printf("takes %9zu bytes for %.*s\n", bytes, static_cast<int>(label.name.size()), label.name.data());
    ++asked;
    return block;
  }
  void do_deallocate(void* block, size_t /*bytes*/, elek::Stream /*stream*/) noexcept override { std::free(block); }
};

int main(int argc, char** argv) try {
  if (argc != 2) throw elek::UsageError("usage: allocator MODEL");
  elek::Model model = elek::load_model(argv[1], elek::host_resource());
  const auto images = elek::make_loader(elek::parse_data("synthetic:100", model.graph.input_shape()), {});
  Printing memory;
  elek::SessionOptions options;
  options.batch = 10;
  options.memory = &memory;
  elek::Session session(std::move(model), options);
  const int opened_with = memory.asked;
  elek::for_each_batch(session, *images, 0, {});
  std::printf("running 100 images asked %d times\n", memory.asked - opened_with);
} catch (const elek::Error& error) {
  std::fprintf(stderr, "allocator: %s\n", error.what());
  return error.exit_code();
}
