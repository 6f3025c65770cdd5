// SPDX-License-Identifier: Apache-2.0
// Loader: the same batches in the same order for any number of threads, errors at the right batch, and a clean stop at any
// time.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <set>
#include <thread>

#include "core/runtime.h"
#include "elek/data.h"
#include "tests/data/files.h"

namespace elek::test {
namespace {

using ::testing::ElementsAre;

const ImageShape kShape{1, 2, 2};

// Sample i is four bytes made of i and has label 1000 + i. Some samples fail, some take long; decoding is counted.
class Fake final : public Dataset {
 public:
  explicit Fake(int64_t size) : size_(size) {}
  int64_t size() const override { return size_; }
  int64_t classes() const override { return 7; }
  const std::vector<std::string>& labels() const override { return class_names_; }
  int32_t label(int64_t index) const override { return 1000 + static_cast<int32_t>(index); }
  std::string name(int64_t index) const override { return "fake " + std::to_string(index); }
  void decode(int64_t index, const ImageShape& shape, std::span<uint8_t> pixels) const override {
    EXPECT_EQ(shape, kShape);
    if (slow.contains(index)) std::this_thread::sleep_for(std::chrono::milliseconds(20));
    ++decoded;
    if (broken.contains(index)) throw InputError(name(index) + " is broken");
    for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(static_cast<size_t>(index) >> (8 * (i % 2)));
  }
  uint64_t content_hash(int64_t index) const override { return static_cast<uint64_t>(index); }

  std::set<int64_t> broken, slow;
  mutable std::atomic<int64_t> decoded = 0;

 private:
  int64_t size_;
  std::vector<std::string> class_names_;
};

// Staging memory like a session's, with a guard behind each slot.
class Staging {
 public:
  static constexpr uint8_t kGuard = 0xa5;
  Staging(size_t slots, int64_t capacity) : pixels_(slots), labels_(slots), slots_(slots) {
    for (size_t i = 0; i < slots; ++i) {
      pixels_[i].assign(static_cast<size_t>(capacity * kShape.elements()) + 8, kGuard);
      labels_[i].assign(static_cast<size_t>(capacity) + 1, -77);
      slots_[i] = {pixels_[i].data(), labels_[i].data(), capacity, 0, kShape};
    }
  }
  std::span<Slot> slots() { return slots_; }
  bool guards_intact() const {
    return std::all_of(pixels_.begin(), pixels_.end(),
                       [](const Bytes& p) { return std::count(p.end() - 8, p.end(), kGuard) == 8; }) &&
           std::all_of(labels_.begin(), labels_.end(), [](const std::vector<int32_t>& l) { return l.back() == -77; });
  }

 private:
  std::vector<Bytes> pixels_;
  std::vector<std::vector<int32_t>> labels_;
  std::vector<Slot> slots_;
};

LoaderOptions options(int threads, std::optional<uint64_t> seed = std::nullopt, int64_t limit = 0) {
  return {.shuffle_seed = seed, .limit = limit, .threads = threads, .description = "fake"};
}

// The data index of each sample of a slot, read from its pixels, which must agree with its label.
std::vector<int64_t> indices(const Slot& slot) {
  std::vector<int64_t> found;
  for (int64_t i = 0; i < slot.count; ++i) {
    const uint8_t* p = slot.pixels + i * kShape.elements();
    found.push_back(p[0] | p[1] << 8);
    EXPECT_EQ(p[2], p[0]);
    EXPECT_EQ(p[3], p[1]);
    EXPECT_EQ(slot.labels[i], 1000 + found.back());
  }
  return found;
}

std::vector<int64_t> pass(BatchSource& source, std::span<Slot> slots, std::vector<int64_t>* counts = nullptr) {
  std::vector<int64_t> all;
  source.start(slots);
  while (const Slot* slot = source.next()) {
    const std::vector<int64_t> found = indices(*slot);
    all.insert(all.end(), found.begin(), found.end());
    if (counts != nullptr) counts->push_back(slot->count);
  }
  EXPECT_EQ(source.next(), nullptr);  // and stays at the end
  source.stop();
  return all;
}

std::vector<int64_t> up_to(int64_t n) {
  std::vector<int64_t> all(static_cast<size_t>(n));
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<int64_t>(i);
  return all;
}

struct LoaderCase {
  int threads;
  size_t slots;
  int64_t capacity;
};
class LoaderOrder : public ::testing::TestWithParam<LoaderCase> {};

TEST_P(LoaderOrder, IsTheDatasWithAPartialLastSlot) {
  const auto [threads, slot_count, capacity] = GetParam();
  const auto data = std::make_shared<Fake>(1003);
  data->slow = {0, 5, 500, 1002};
  const auto loader = make_loader(data, options(threads));
  EXPECT_EQ(loader->samples(), 1003);
  EXPECT_EQ(loader->classes(), 7);
  EXPECT_EQ(loader->description(), "fake");
  Staging staging(slot_count, capacity);
  std::vector<int64_t> counts;
  EXPECT_EQ(pass(*loader, staging.slots(), &counts), up_to(1003));
  ASSERT_EQ(static_cast<int64_t>(counts.size()), (1003 + capacity - 1) / capacity);
  EXPECT_EQ(counts.back(), (1003 - 1) % capacity + 1);
  EXPECT_TRUE(std::all_of(counts.begin(), counts.end() - 1, [capacity = capacity](int64_t c) { return c == capacity; }));
  EXPECT_TRUE(staging.guards_intact());
  EXPECT_EQ(data->decoded, 1003);                          // each once
  EXPECT_EQ(pass(*loader, staging.slots()), up_to(1003));  // a second pass is the same
}

INSTANTIATE_TEST_SUITE_P(ThreadsSlotsCapacity, LoaderOrder,
                         ::testing::Values(LoaderCase{1, 2, 50}, LoaderCase{3, 2, 50}, LoaderCase{3, 1, 50},
                                           LoaderCase{8, 3, 7}, LoaderCase{3, 2, 1}, LoaderCase{2, 2, 5000},
                                           LoaderCase{3, 2, 1003}, LoaderCase{4, 2, 17}));

TEST(Loader, ShufflingIsSeededAndLimitComesAfterIt) {
  const auto data = std::make_shared<Fake>(300);
  Staging staging(2, 32);
  const auto order = [&](int threads, std::optional<uint64_t> seed, int64_t limit = 0) {
    return pass(*make_loader(data, options(threads, seed, limit)), staging.slots());
  };
  const std::vector<int64_t> shuffled = order(1, 5);
  EXPECT_EQ(shuffled, Random(5).permutation(300));
  EXPECT_NE(shuffled, up_to(300));
  EXPECT_EQ(order(3, 5), shuffled);
  EXPECT_NE(order(1, 6), shuffled);
  EXPECT_EQ(order(3, 5, 40), std::vector<int64_t>(shuffled.begin(), shuffled.begin() + 40));
  EXPECT_EQ(order(3, std::nullopt, 40), up_to(40));
  EXPECT_EQ(order(2, 5, 1000), shuffled);  // a limit beyond the data is no limit
  EXPECT_EQ(make_loader(data, options(1, 5, 40))->samples(), 40);
}

TEST(Loader, ReordersTheSameSamplesAndBack) {
  const auto data = std::make_shared<Fake>(300);
  Staging staging(2, 32);
  for (const std::optional<uint64_t> first : {std::optional<uint64_t>(), std::optional<uint64_t>(5)}) {
    const auto loader = make_loader(data, options(2, first, 40));
    const std::vector<int64_t> order = pass(*loader, staging.slots());
    ASSERT_TRUE(loader->reorder(9));
    std::vector<int64_t> other = pass(*loader, staging.slots());
    EXPECT_NE(other, order);
    EXPECT_EQ(pass(*loader, staging.slots()), other);  // the order stays
    EXPECT_TRUE(std::is_permutation(order.begin(), order.end(), other.begin(), other.end()));
    ASSERT_TRUE(loader->reorder(std::nullopt));
    EXPECT_EQ(pass(*loader, staging.slots()), order);
  }
}

TEST(Loader, AnErrorComesInItsBatchAndIsTheLowest) {
  for (const int threads : {1, 3}) {
    for (int round = 0; round < 20; ++round) {  // threads race anew each time
      const auto data = std::make_shared<Fake>(100);
      data->broken = {47, 45, 44, 99};
      data->slow = {round % 2 == 0 ? 44 : 45};  // the lowest is found last, or a higher one after it
      const auto loader = make_loader(data, options(threads));
      Staging staging(2, 10);
      loader->start(staging.slots());
      for (int batch = 0; batch < 4; ++batch) {
        const Slot* slot = loader->next();
        ASSERT_NE(slot, nullptr);
        EXPECT_EQ(indices(*slot).front(), 10 * batch);
      }
      for (int i = 0; i < 2; ++i) {  // it stays
        expect_error<InputError>([&] { static_cast<void>(loader->next()); }, {"fake 44 is broken"});
      }
      loader->stop();
      data->broken.clear();
      EXPECT_EQ(pass(*loader, staging.slots()), up_to(100));  // the source can be used again
    }
  }
}

TEST(Loader, ErrorsOfTheFirstAndTheLastSample) {
  Staging staging(2, 10);
  for (const int64_t broken : {0, 24}) {
    const auto data = std::make_shared<Fake>(25);
    data->broken = {broken};
    const auto loader = make_loader(data, options(3));
    loader->start(staging.slots());
    for (int64_t batch = 0; batch < broken / 10; ++batch) EXPECT_NE(loader->next(), nullptr);
    expect_error<InputError>([&] { static_cast<void>(loader->next()); }, {"fake ", "is broken"});
  }  // destroyed without stop()
}

TEST(Loader, StopsAtAnyTime) {
  const auto data = std::make_shared<Fake>(500);
  data->slow = {3, 30, 44, 77};
  const auto loader = make_loader(data, options(3));
  Staging staging(2, 20);
  loader->stop();  // before the first start
  for (int batches = 0; batches < 8; ++batches) {
    loader->start(staging.slots());
    for (int i = 0; i < batches; ++i) ASSERT_NE(loader->next(), nullptr);
    loader->stop();
    const int64_t decoded = data->decoded;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    EXPECT_EQ(data->decoded, decoded);  // nobody is at work: the slots are the session's again
    loader->stop();
    EXPECT_THROW(static_cast<void>(loader->next()), ContractError);
  }
  loader->start(staging.slots());
  ASSERT_NE(loader->next(), nullptr);
  EXPECT_EQ(pass(*loader, staging.slots()), up_to(500));  // start() in the middle of a pass begins anew
}

// The slot that the caller holds is not written to. With two slots that is the other one, however far ahead the threads could
// be.
TEST(Loader, LeavesTheLentSlotAlone) {
  const auto data = std::make_shared<Fake>(60);
  const auto loader = make_loader(data, options(3));
  Staging staging(2, 10);
  loader->start(staging.slots());
  const Slot* slot = loader->next();
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  while (data->decoded < 20 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  EXPECT_EQ(data->decoded, 20);  // two slots ahead, and no further
  EXPECT_EQ(indices(*slot), up_to(10));
  EXPECT_EQ(loader->next()->labels[0], 1010);
  loader->stop();
}

TEST(Loader, ObeysAnInterruptWhileItWaits) {
  const auto data = std::make_shared<Fake>(2000);
  for (int64_t i = 0; i < 2000; ++i) data->slow.insert(i);  // 40 s in all
  const auto loader = make_loader(data, options(2));
  Staging staging(2, 1000);
  loader->start(staging.slots());
  std::thread user([] {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    request_interrupt();
  });
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_THROW(static_cast<void>(loader->next()), Interrupted);
  loader->stop();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(5));
  user.join();
  clear_interrupt();
}

TEST(Loader, ContractsAreChecked) {
  const auto data = std::make_shared<Fake>(5);
  EXPECT_THROW(static_cast<void>(make_loader(nullptr, options(1))), ContractError);
  EXPECT_THROW(static_cast<void>(make_loader(data, options(0))), ContractError);
  EXPECT_THROW(static_cast<void>(make_loader(data, options(1, std::nullopt, -1))), ContractError);
  const auto loader = make_loader(data, options(1));
  EXPECT_THROW(static_cast<void>(loader->next()), ContractError);
  EXPECT_THROW(loader->start({}), ContractError);
  Staging staging(2, 4);
  staging.slots()[1].capacity = 3;
  EXPECT_THROW(loader->start(staging.slots()), ContractError);
}

// The whole chain on files: pixels of images in batches, in the order of the folder.
TEST(Loader, ReadsImageFolders) {
  TempFolder folder;
  for (int i = 0; i < 25; ++i) {
    const std::string name = std::string(i < 12 ? "a/" : "b/") + std::to_string(100 + i) + ".png";
    write_file(folder.path(name), png(2, 2, 1, Bytes(4, static_cast<uint8_t>(i))));
  }
  const auto loader = make_loader(parse_data("images:" + folder.path(), kShape), options(3));
  Staging staging(2, 10);
  loader->start(staging.slots());
  int64_t seen = 0;
  while (const Slot* slot = loader->next()) {
    for (int64_t i = 0; i < slot->count; ++i, ++seen) {
      EXPECT_EQ(slot->pixels[4 * i + 3], seen);
      EXPECT_EQ(slot->labels[i], seen < 12 ? 0 : 1);
    }
  }
  EXPECT_EQ(seen, 25);
  loader->stop();
  write_file(folder.path("b/115.png"), "text");
  loader->start(staging.slots());
  EXPECT_NE(loader->next(), nullptr);
  expect_error<InputError>([&] { static_cast<void>(loader->next()); }, {"b/115.png"});
}

}  // namespace
}  // namespace elek::test
