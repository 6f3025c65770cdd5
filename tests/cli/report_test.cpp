// SPDX-License-Identifier: Apache-2.0
// elek report, and --report of the commands that write a network: what the page must hold, in all three forms.
#include "tests/cli/command.h"

namespace elek::test {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Outcome cut(const Folder& folder, const std::vector<std::string>& more) {
  std::vector<std::string> words{"coverage",
                                 "--model",
                                 tiny_model(folder),
                                 "--calibrate",
                                 "synthetic:60:1",
                                 "--evaluate",
                                 "synthetic:60:2",
                                 "--channels",
                                 "0.4",
                                 "--metric",
                                 "std-consumer",
                                 "--repair",
                                 "bn",
                                 "--threads",
                                 "1",
                                 "--out",
                                 folder / "small.safetensors"};
  words.insert(words.end(), more.begin(), more.end());
  return elek_command(words);
}

TEST(Report, HoldsWhatWasDoneInAllForms) {
  const Folder folder;
  const std::string html = folder / "r.html", card = folder / "r.md", json = folder / "r.json";
  const Outcome made = cut(folder, {"--report", html, "--report", card, "--report", json});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  const std::string page = read_text(html), text = read_text(card);
  for (const std::string& form : {page, text}) {
    for (const char* what :
         {"Accuracy", "What was done", "What was kept, and why", "Size and work", "Speed", "Memory", "Provenance",
          "How to make it again", "just pruned", "std-consumer", "synthetic:60:1", "standard error"}) {
      EXPECT_THAT(form, HasSubstr(what));
    }
    EXPECT_THAT(form, HasSubstr("elek coverage --model"));
    EXPECT_THAT(form, HasSubstr("60 images only")) << "a warning";
  }
  EXPECT_THAT(text, ::testing::StartsWith("---\nlibrary_name: \"elek\"\n"));
  EXPECT_THAT(page, Not(HasSubstr("http://www.w3.org/2000/svg\" src"))) << "offline";
  for (const char* outside : {"<script", "<link", "src=", "href=", "@import", "url(http"})
    EXPECT_THAT(page, Not(HasSubstr(outside)));
  const auto object = nlohmann::json::parse(read_text(json));
  EXPECT_EQ(object.at("command"), "report");
  EXPECT_FALSE(object.at("warnings").empty());
  EXPECT_EQ(object.at("sections").size(), 7U);
}

/// Without times the same network gives the same page, byte for byte.
TEST(Report, WithoutTimesItIsTheSameEverywhere) {
  const Folder folder;
  ASSERT_EQ(cut(folder, {}).exit_code, 0);
  const auto report = [&](const std::string& name) {
    const std::string path = folder / name;
    const Outcome made = elek_command({"report", "--model", folder / "small.safetensors", "--beside", tiny_model(folder),
                                       "--out", path, "--no-times", "--json"});
    EXPECT_EQ(made.exit_code, 0) << made.err;
    EXPECT_EQ(made.json().at("sections").size(), 6U);
    std::string text = read_text(path);
    text.erase(text.find("How to make it again"));  // the command names the file
    return text;
  };
  EXPECT_EQ(report("a.html"), report("b.html"));
  EXPECT_THAT(report("c.md"), HasSubstr("its speed was not measured"));
}

TEST(Report, NamesThatItCannotWriteAreRefusedBeforeTheWork) {
  const Folder folder;
  const std::string model = tiny_model(folder);
  const Outcome pdf = elek_command({"report", "--model", model, "--out", folder / "r.pdf"});
  EXPECT_EQ(pdf.exit_code, 2);
  EXPECT_THAT(pdf.err, HasSubstr(".html, .md or .json"));
  EXPECT_EQ(elek_command({"report", "--model", model, "--out", folder / "missing/r.html"}).exit_code, 3);
  const Outcome no_out = elek_command({"coverage", "--model", model, "--calibrate", "synthetic:20:1", "--save-statistics",
                                       folder / "s.safetensors", "--metric", "std-consumer", "--report", folder / "r.html"});
  EXPECT_EQ(no_out.exit_code, 2);
  EXPECT_THAT(no_out.err, HasSubstr("--report needs --out"));
}

TEST(Report, AQuantisedNetworkHasOne) {
  const Folder folder;
  const std::string page = folder / "q.html";
  const Outcome made = elek_command({"quantize", "--model", tiny_model(folder), "--calibrate", "synthetic:60:1", "--evaluate",
                                     "synthetic:60:2", "--out", folder / "q.safetensors", "--report", page, "--threads", "1"});
  ASSERT_EQ(made.exit_code, 0) << made.err;
  EXPECT_THAT(read_text(page), HasSubstr("Measured for this report on 60 images"));
}

}  // namespace
}  // namespace elek::test
