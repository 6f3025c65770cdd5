// SPDX-License-Identifier: Apache-2.0
#include "core/processor.h"

#include <sys/utsname.h>

#include <fstream>

namespace elek {
namespace {

std::string read_name() {
  std::ifstream file("/proc/cpuinfo");
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  utsname system{};
  return uname(&system) == 0 ? system.machine : "unknown";
}

}  // namespace

const std::string& processor_name() {
  static const std::string name = read_name();
  return name;
}

}  // namespace elek
