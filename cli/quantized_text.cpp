// SPDX-License-Identifier: Apache-2.0
#include "cli/quantized_text.h"

namespace elek::cli {

std::string quantized_text(const QuantizeReport& report) {
  std::string text =
      std::to_string(report.quantized()) + " of " + std::to_string(report.layers.size()) + " layers compute in int8";
  for (const QuantizedLayer& layer : report.layers) {
    if (!layer.why_not.empty()) text += "\n  " + layer.name + " stays f32: " + layer.why_not;
  }
  return text;
}

}  // namespace elek::cli
