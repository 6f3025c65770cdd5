// SPDX-License-Identifier: Apache-2.0
#include "cli/advice.h"

#include "core/hint.h"

namespace elek::cli {
namespace {

const char* advice_for(Hint hint) {
  switch (hint) {
    case Hint::kUseCpu:
      return "use --device cpu to run without a GPU";
    case Hint::kCpuPrecision:
      return "choose one of these with --precision, or use --device cuda if there is a GPU";
    case Hint::kUseF32:
      return "use --precision f32";
    case Hint::kHoldingPrecision:
      return "use --precision bf16 or tf32";
    case Hint::kOtherPrecision:
      return "try another --precision, or --device cpu";
    case Hint::kGroupNames:
      return "`elek info --groups` lists the names";
    case Hint::kLayerNames:
      return "`elek info` lists them";
    case Hint::kSingleImages:
      return "or give single files to `elek run`";
    case Hint::kImportWeights:
      return "make a model of a weights file with: elek prepare --weights FILE --out MODEL";
    case Hint::kPartOfFile:
      return "choose one with --key NAME";
    case Hint::kTakeStatistics:
      return "make one with --save-statistics";
    case Hint::kInputSize:
      return "give it with --input C,H,W";
    case Hint::kChooseHead:
      return "name one layer with --head NAME, or take the network without it with --head none";
    case Hint::kRepairBatchNorm:
      return "use --repair bn, which solves no equations";
    case Hint::kQuantize:
      return "make a quantised network with: elek quantize --model MODEL --calibrate DATA --out QUANTISED";
  }
  return "";
}

}  // namespace

std::string message_with_advice(const std::exception& error) {
  const std::optional<Hint> hint = hint_of(error);
  return hint ? std::string(error.what()) + "; " + advice_for(*hint) : error.what();
}

}  // namespace elek::cli
