// SPDX-License-Identifier: Apache-2.0
// Bad files, full disks, small budgets and Ctrl-C: each gives a message that names the file and the right exit code, and leaves
// nothing behind.
#include <algorithm>
#include <chrono>
#include <filesystem>

#include "tests/cli/command.h"

namespace elek::test {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

void expect_refused(const std::vector<std::string>& words, int exit_code, const std::string& says) {
  const Outcome outcome = elek_command(words);
  EXPECT_EQ(outcome.exit_code, exit_code) << ::testing::PrintToString(words) << "\n" << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr(says));
  EXPECT_THAT(outcome.out, IsEmpty());
}

TEST(BadInput, ModelFiles) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const std::string text = read_text(model);
  expect_refused({"info", "--model", folder / "none.safetensors"}, 3, "none.safetensors");
  for (const size_t bytes : {size_t{0}, size_t{7}, size_t{100}, text.size() / 2, text.size() - 1}) {
    write_text(folder / "cut.safetensors", text.substr(0, bytes));
    expect_refused({"info", "--model", folder / "cut.safetensors"}, 3, "cut.safetensors");
  }
  write_text(folder / "words.safetensors", "this is no network");
  expect_refused({"eval", "--model", folder / "words.safetensors", "--data", "synthetic:4"}, 3, "words.safetensors");
  expect_refused({"info", "--model", shipped_data() + "/resnet20_fashion_mnist.safetensors"}, 3, "elek prepare");
}

TEST(BadInput, WeightsOfAnotherNetwork) {
  const Folder folder;
  expect_refused({"prepare", "--arch", "resnet50", "--weights", shipped_data() + "/resnet20_fashion_mnist.safetensors", "--out",
                  folder / "net.safetensors"},
                 3, "resnet20_fashion_mnist.safetensors");
  expect_refused({"prepare", "--arch", "cifar_resnet20", "--classes", "7", "--weights",
                  shipped_data() + "/resnet20_fashion_mnist.safetensors", "--out", folder / "net.safetensors"},
                 2, "--classes");
  EXPECT_THAT(folder.files(), IsEmpty());
}

TEST(BadInput, DataSets) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  expect_refused({"eval", "--model", model, "--data", "idx:" + (folder / "nowhere")}, 3, "nowhere");
  expect_refused({"eval", "--model", model, "--data", "gold:x"}, 2, "gold");
  fs::create_directories(folder / "empty");
  expect_refused({"eval", "--model", model, "--data", "images:" + (folder / "empty")}, 3, "empty");
  fs::create_directories(folder / "photos/cat");
  write_text(folder / "photos/cat/a.jpg", "not a photograph");
  expect_refused({"eval", "--model", model, "--data", "images:" + (folder / "photos")}, 3, "a.jpg");
  expect_refused({"run", "--model", model, folder / "photos/cat/a.jpg"}, 3, "a.jpg");
  expect_refused({"run", "--model", model, folder / "photos/cat/none.jpg"}, 3, "none.jpg");
}

TEST(BadInput, TruncatedGzip) {
  const Folder folder;
  const std::string model = shipped_model(folder);
  fs::create_directories(folder / "idx");
  for (const char* name : {"t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"}) {
    fs::copy_file(shipped_data() + "/" + name, folder / "idx/" + name);
  }
  const std::string images = folder / "idx/t10k-images-idx3-ubyte.gz";
  fs::resize_file(images, fs::file_size(images) / 2);
  expect_refused({"eval", "--model", model, "--data", "idx:" + (folder / "idx") + ":test"}, 3, "t10k-images-idx3-ubyte.gz");
}

TEST(BadInput, LabelsTheNetworkDoesNotKnow) {
  const Folder folder;
  expect_refused({"eval", "--model", tiny_model(folder, 3), "--data", "synthetic:50:1"}, 3, "label");
}

TEST(BadInput, OutputThatCannotBeWritten) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  expect_refused({"prepare", "--arch", "resnet18", "--random", "1", "--out", folder / "no/such/folder/net.safetensors"}, 3,
                 "no/such/folder");
  expect_refused({"prepare", "--arch", "resnet18", "--random", "1", "--out", folder.path()}, 3, "is a folder");
  expect_refused({"run", "--model", model, "--data", "synthetic:4", "--out", "/proc/logits.safetensors"}, 3,
                 "/proc/logits.safetensors");
  EXPECT_THAT(folder.files(), ElementsAre("tiny.safetensors"));
}

TEST(BadInput, AFullDiskLeavesNothing) {
  const Folder folder;
  How how;
  how.file_bytes_limit = 1'000'000;
  const Outcome outcome =
      elek_command({"prepare", "--arch", "resnet18", "--random", "1", "--out", folder / "net.safetensors"}, how);
  EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
  EXPECT_THAT(outcome.err, HasSubstr("net.safetensors"));
  EXPECT_THAT(folder.files(), IsEmpty());
}

TEST(BadInput, AFullDiskKeepsTheFileThatWasThere) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const std::string before = read_text(model);
  How how;
  how.file_bytes_limit = 100'000;
  EXPECT_EQ(elek_command({"prepare", "--arch", "resnet18", "--random", "1", "--out", model}, how).exit_code, 3);
  EXPECT_EQ(read_text(model), before);
  EXPECT_THAT(folder.files(), ElementsAre("tiny.safetensors"));
}

TEST(BadInput, AFullStandardOutput) {
  const Folder folder;
  How how;
  how.out_path = "/dev/full";
  const Outcome outcome = elek_command({"info", "--model", tiny_model(folder), "--json"}, how);
  EXPECT_EQ(outcome.exit_code, 3) << outcome.err;
}

TEST(Memory, ABudgetTooSmallIsExitCode4) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  expect_refused({"eval", "--model", model, "--data", "synthetic:8", "--memory-limit", "10kB"}, 4, "--memory-limit");
  // Enough for the parameters (about 70,000 floats), too little for a session with batches of 1000.
  expect_refused({"eval", "--model", model, "--data", "synthetic:8", "--memory-limit", "1MB", "--batch", "1000"}, 4,
                 "--memory-limit");
}

TEST(Memory, ABudgetLargeEnoughIsKept) {
  const Folder folder;
  const Outcome outcome = elek_command({"eval", "--model", tiny_model(folder), "--data", "synthetic:8", "--batch", "4",
                                        "--memory-limit", "64MB", "--json", "--quiet"});
  ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
  for (const auto& phase : outcome.json().at("phases")) EXPECT_LE(phase.at("tensors_peak_bytes").get<int64_t>(), 64'000'000);
}

/// No library starts threads or reserves memory when the program starts; otherwise the command would hang here, or fail.
TEST(Memory, ASmallAddressSpaceIsEnoughToStartAndToRunASmallNetwork) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  How how;
  how.address_space_limit = 150 << 20;
  EXPECT_EQ(elek_command({"--version"}, how).exit_code, 0);
  const Outcome outcome = elek_command({"eval", "--model", model, "--data", "synthetic:8", "--quiet"}, how);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.err;
}

TEST(Interrupt, WhileWorkingLeavesNothing) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const std::string marker = folder / "sums.safetensors";
  How how;
  // The statistics are written between collection and scoring; the evaluations after them would take many seconds.
  how.interrupt_when = [&marker] { return fs::exists(marker); };
  const Outcome outcome =
      elek_command({"coverage", "--model", model, "--calibrate", "synthetic:20:1", "--evaluate", "synthetic:20000:2", "--batch",
                    "10", "--save-statistics", marker, "--out", folder / "out.safetensors"},
                   how);
  EXPECT_EQ(outcome.exit_code, 130) << outcome.err;
  EXPECT_THAT(folder.files(), ElementsAre("sums.safetensors", "tiny.safetensors"));
}

/// A second Ctrl-C ends the command where it is. So it prints nothing more; after one alone it says that it was interrupted.
TEST(Interrupt, TheSecondEndsAtOnce) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  // A batch takes long enough that the second signal comes before the first one is looked at.
  const auto bench = [&model](bool again) {
    How how;
    how.interrupt_again = again;
    how.interrupt_when = [start = std::chrono::steady_clock::now()] {
      return std::chrono::steady_clock::now() - start > std::chrono::milliseconds(300);
    };
    return elek_command({"bench", "--model", model, "--batch", "16384", "--seconds", "60", "--quiet"}, how);
  };
  const Outcome once = bench(false);
  EXPECT_EQ(once.exit_code, 130);
  EXPECT_THAT(once.err, HasSubstr("interrupted"));
  const Outcome twice = bench(true);
  EXPECT_EQ(twice.exit_code, 130);
  EXPECT_THAT(twice.err, IsEmpty());
}

TEST(Interrupt, WhileSavingLeavesNothing) {
  const Folder folder;
  How how;
  how.interrupt_when = [&folder] { return !folder.files().empty(); };
  // On a loaded machine the signal may come after the rename; then the file is complete. That must not happen every time.
  for (int attempt = 0; attempt < 5; ++attempt) {
    const std::string out = folder / "net.safetensors";
    const Outcome outcome = elek_command({"prepare", "--arch", "resnet101", "--random", "1", "--out", out}, how);
    if (outcome.exit_code == 130) {
      EXPECT_THAT(folder.files(), IsEmpty());
      return;
    }
    ASSERT_EQ(outcome.exit_code, 0) << outcome.err;
    EXPECT_EQ(elek_command({"info", "--model", out}).exit_code, 0);
    fs::remove(out);
  }
  FAIL() << "the signal never met the saving";
}

}  // namespace
}  // namespace elek::test
