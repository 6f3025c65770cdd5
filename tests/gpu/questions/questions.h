// SPDX-License-Identifier: Apache-2.0
// The questions of gpu_questions (main.cpp). Each prints its answer as JSON on standard output, one object per line.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

namespace elek {

using Json = nlohmann::ordered_json;
void print(const Json& line);

/// engines.cpp: ResNet-50's layers, engine by engine. DeviceError without device or cuDNN.
void ask_engines(int64_t batch, const std::string& only);
/// table.cpp: a session with and without statistics: times, memory, the choice table; and one line of text on standard error.
void ask_table(const std::string& arch, int64_t batch, const std::string& precision);

}  // namespace elek
