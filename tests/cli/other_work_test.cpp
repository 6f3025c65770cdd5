// SPDX-License-Identifier: Apache-2.0
// bench and profile warn if other work used cores while they measured.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "tests/cli/command.h"

namespace elek::test {
namespace {

/// Keeps every core busy while it lives.
class Burner {
 public:
  Burner() {
    for (unsigned i = 0; i < std::max(1U, std::thread::hardware_concurrency()); ++i)
      threads_.emplace_back([this] {
        while (!stop_.load(std::memory_order_relaxed)) {
        }
      });
  }
  Burner(const Burner&) = delete;
  Burner& operator=(const Burner&) = delete;
  ~Burner() {
    stop_ = true;
    for (std::thread& thread : threads_) thread.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::vector<std::thread> threads_;
};

TEST(OtherWork, IsNamedWhereItTookCores) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const Burner burner;
  for (const std::string command : {"bench", "profile"}) {
    const std::vector<std::string> words = {command, "--model", model, "--device", "cpu", "--seconds", "0.5"};
    const Outcome text = elek_command(words);
    ASSERT_EQ(text.exit_code, 0) << text.err;
    EXPECT_NE(text.out.find("Warning: other programs used "), std::string::npos) << text.out;
    auto with_json = words;
    with_json.emplace_back("--json");
    EXPECT_GT(elek_command(with_json).json().at("other_busy_cores").get<double>(), 0.3) << command;
  }
}

TEST(OtherWork, IsNotGuessedInAMoment) {
  const Folder folder;
  const Outcome outcome =
      elek_command({"bench", "--model", tiny_model(folder), "--device", "cpu", "--threads", "1", "--seconds", "0", "--json"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  EXPECT_TRUE(outcome.json().at("other_busy_cores").is_null());
}

}  // namespace
}  // namespace elek::test
