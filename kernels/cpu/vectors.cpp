// SPDX-License-Identifier: Apache-2.0
// Tests: tests/kernels/vectors_test.cpp
#include "kernels/cpu/vectors.h"

#include "kernels/cpu/detail/targets.h"
// targets.h before any Highway header
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/vectors.cpp"
#include <hwy/foreach_target.h>
// foreach_target.h first
#include <hwy/highway.h>

#include "kernels/cpu/detail/panel_product-inl.h"

HWY_BEFORE_NAMESPACE();
namespace elek::kernels::cpu::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

const char* target_name() { return hwy::TargetName(HWY_TARGET); }
int64_t lanes_of_block(int64_t block) {
  return static_cast<int64_t>(block == 16 ? hn::Lanes(hn::CappedTag<float, 16>()) : hn::Lanes(hn::CappedTag<float, 8>()));
}
int64_t rows_of_panel() { return kPanelRows; }

}  // namespace elek::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace elek::kernels::cpu {

HWY_EXPORT(target_name);
HWY_EXPORT(lanes_of_block);
HWY_EXPORT(rows_of_panel);

const char* instruction_set() { return HWY_DYNAMIC_DISPATCH(target_name)(); }
int64_t vector_lanes(int64_t block) { return HWY_DYNAMIC_DISPATCH(lanes_of_block)(block); }
int64_t panel_rows() { return HWY_DYNAMIC_DISPATCH(rows_of_panel)(); }

}  // namespace elek::kernels::cpu
#endif  // HWY_ONCE
