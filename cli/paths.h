// SPDX-License-Identifier: Apache-2.0
// The files that a command reads and writes, checked before any work: an output must not be an input or another output, because
// a mistake in a long command line would then destroy a network or an hour of sums. Each command lists its files; this is the
// only place that compares them. Tests: tests/cli/paths_test.cpp
#pragma once

#include <string>
#include <vector>

namespace elek::cli {

class Paths {
 public:
  /// A file that is read. Empty: the option was not given. Here and below `option` is as the user wrote it: "--model".
  Paths& reads(const std::string& option, const std::string& path);
  /// A file that may name further files beside it: an index of shards, or an ONNX file with external data.
  Paths& reads_with_parts(const std::string& option, const std::string& path);
  /// A DATA word; its files lie in a folder.
  Paths& reads_data(const std::string& option, const std::string& word);
  /// A file that is written.
  Paths& writes(const std::string& option, const std::string& path);
  /// Errors    UsageError: an output is an input or another output · InputError: an output cannot become a file
  void check() const;

 private:
  struct File {
    std::string option, path;
  };
  void check_against_inputs(const File& output) const;
  std::vector<File> inputs_, with_parts_, folders_, outputs_;
};

/// Whether both names are one file, also by links, and also if the file does not exist yet.
[[nodiscard]] bool same_file(const std::string& a, const std::string& b);

}  // namespace elek::cli
