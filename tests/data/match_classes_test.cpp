// SPDX-License-Identifier: Apache-2.0
// Labels of folders as classes of a network: by name where both have names, by order with a warning where they differ, an error
// where they contradict each other.
#include "data/match_classes.h"

#include "core/hint.h"
#include "core/runtime.h"
#include "tests/data/files.h"

namespace elek::test {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

const ImageShape kShape{3, 2, 2};

/// One image in each of these class folders, in this order of samples: the order of the names' bytes.
std::shared_ptr<const Dataset> folders(const TempFolder& folder, const std::vector<std::string>& names) {
  for (const std::string& name : names) write_file(folder.path(name + "/x.png"), png(2, 2, 3, Bytes(12, 1)));
  return parse_data("images:" + folder.path(), kShape);
}

std::vector<int> labels_of(const Dataset& data) {
  std::vector<int> labels;
  for (int64_t i = 0; i < data.size(); ++i) labels.push_back(data.label(i));
  return labels;
}

struct Matched {
  std::vector<int> labels;
  std::string said;
};

Matched match(const std::vector<std::string>& names, const std::vector<std::string>& classes, int64_t count = 0) {
  const TempFolder folder;
  const auto data = folders(folder, names);
  testing::internal::CaptureStderr();
  try {
    const auto made = labelled_for(data, count > 0 ? count : std::ssize(classes), classes, "DATA");
    return {labels_of(*made), testing::internal::GetCapturedStderr()};
  } catch (...) {
    (void)testing::internal::GetCapturedStderr();  // or the next capture aborts
    throw;
  }
}

TEST(MatchClasses, NamesDecide) {
  const Matched all = match({"cat", "dog", "eel"}, {"dog", "cat", "eel"});
  EXPECT_THAT(all.labels, ElementsAre(1, 0, 2));
  EXPECT_THAT(all.said, IsEmpty());
  // Case, blanks and signs do not count: a folder cannot be called T-shirt/top.
  EXPECT_THAT(match({"ankle_boot", "t-shirt-top"}, {"T-shirt/top", "Coat", "Ankle boot"}).labels, ElementsAre(2, 0));
  // A part of the classes: each keeps its number, without a warning.
  const Matched part = match({"dog", "eel"}, {"ant", "bee", "cat", "dog", "eel"});
  EXPECT_THAT(part.labels, ElementsAre(3, 4));
  EXPECT_THAT(part.said, IsEmpty());
}

TEST(MatchClasses, OneOrderAndOneNumberNeedNothing) {
  const TempFolder folder;
  const auto data = folders(folder, {"cat", "dog"});
  EXPECT_EQ(labelled_for(data, 2, {"cat", "dog"}, "DATA"), data) << "the data set itself";
  EXPECT_EQ(labelled_for(data, 2, {}, "DATA"), data);
}

TEST(MatchClasses, OtherNamesGoByOrderAndAreToldOf) {
  const Matched ids = match({"n01", "n02"}, {"cat", "dog"});
  EXPECT_THAT(ids.labels, ElementsAre(0, 1));
  EXPECT_THAT(ids.said, HasSubstr("the names of the classes differ, so labels are given by order: class 0 is 'n01' in the data "
                                  "and 'cat' in the network"));
  const Matched some = match({"cat", "hound"}, {"cat", "dog"});  // what is known is at its place
  EXPECT_THAT(some.labels, ElementsAre(0, 1));
  EXPECT_THAT(some.said, HasSubstr("class 1 is 'hound' in the data and 'dog' in the network"));
  const Matched fewer = match({"x", "y"}, {"cat", "dog", "eel"});
  EXPECT_THAT(fewer.said, HasSubstr("the data have 2 classes and the network 3"));
}

TEST(MatchClasses, NumbersGoByOrder) {
  const Matched all = match({"0", "1", "2"}, {"cat", "dog", "eel"});
  EXPECT_THAT(all.labels, ElementsAre(0, 1, 2));
  EXPECT_THAT(all.said, IsEmpty());
  const Matched three = match({"2", "5", "7"}, {}, 10);
  EXPECT_THAT(three.said, HasSubstr("the data have 3 classes and the network 10: they are taken as its classes 0 to 2, '2' as "
                                    "class 0"));
}

TEST(MatchClasses, ContradictionsAreErrors) {
  const auto refused = [](const std::vector<std::string>& names, const std::vector<std::string>& classes,
                          std::initializer_list<const char*> parts) {
    expect_error<InputError>([&] { (void)match(names, classes); }, parts);
  };
  refused({"cat", "dog", "yak"}, {"dog", "cat", "eel"}, {"DATA", "'cat' is number 0", "number 1", "'yak'", "name the classes"});
  refused({"Cat", "cat"}, {"cat", "dog"}, {"two class folders"});
  refused({"a", "b", "c"}, {"x", "y"}, {"has label 2", "from 0 to 1", "2 classes"});
  refused({"0", "1", "2"}, {"x", "y"}, {"has label 2"});
  // Two classes of one name cannot be told apart by it.
  refused({"crane", "ox"}, {"ox", "crane", "crane"}, {"'ox' is number 1", "'crane'"});
}

TEST(MatchClasses, DataWithoutLabels) {
  const TempFolder folder;
  write_file(folder.path("x.png"), png(2, 2, 3, Bytes(12, 1)));
  const auto data = parse_data("images:" + folder.path(), kShape);
  EXPECT_EQ(data->size(), 1);
  EXPECT_EQ(data->classes(), 0);
  EXPECT_EQ(data->label(0), -1);
  try {
    (void)labelled_for(data, 2, {}, "DATA");
    ADD_FAILURE() << "no error";
  } catch (const InputError& error) {
    EXPECT_THAT(error.what(), HasSubstr("have no labels"));
    EXPECT_EQ(hint_of(error), Hint::kSingleImages);
  }
}

TEST(MatchClasses, FewClassesAreWarnedOf) {
  const auto warns = [](const std::string& word, int64_t classes) {
    const auto data = parse_data(word, kShape);
    const int64_t before = warnings_so_far();
    detail::warn_of_few_classes(*data, classes, word);
    return warnings_so_far() > before;
  };
  const TempFolder folder;
  for (int c = 0; c < 10; ++c) {
    for (int i = 0; i < 10; ++i) {
      write_file(folder.path(std::to_string(c) + "/" + std::to_string(i) + ".png"), png(2, 2, 3, Bytes(12, 1)));
    }
  }
  const std::string word = "images:" + folder.path();
  EXPECT_FALSE(warns(word, 10));
  EXPECT_TRUE(warns(word + "[0:10]", 10));
  EXPECT_TRUE(warns(word + "[0:30]", 10));
  EXPECT_FALSE(warns(word + "[0:70]", 10)) << "seven of ten classes";
  EXPECT_FALSE(warns(word + "[0:1]", 10)) << "one image has one class";
  EXPECT_FALSE(warns("synthetic:8", 10)) << "random labels";
}

}  // namespace
}  // namespace elek::test
