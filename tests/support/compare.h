// SPDX-License-Identifier: Apache-2.0
// The comparator of all numeric tests. It accepts what is close and counts everything else. So NaN, which is neither close nor
// far, is a mismatch. A reference that is not finite proves nothing and is a mismatch too, unless the caller allows it.
// Use: const Mismatch m = compare(got, want, atol, rtol); EXPECT_EQ(m.count, 0) << m.message();
// Tests: tests/self/compare_test.cpp
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>
#include <sstream>
#include <string>

namespace elek::test {

/// Whether the reference may hold NaN and infinity. The result must then hold the same kind at the same place.
enum class NonFinite : uint8_t { kRefused, kSameKind };

struct Mismatch {
  int64_t count = 0;   // elements that are not accepted
  int64_t worst = -1;  // index of the worst: the first not comparable, else the largest excess over the tolerance
  double got = 0;      // at `worst`
  double want = 0;
  double tolerance = 0;
  std::string problem;  // what is wrong with the operands (sizes)

  [[nodiscard]] std::string message() const {
    std::ostringstream text;
    text.precision(17);
    if (!problem.empty()) {
      text << problem;
    } else if (count == 0) {
      text << "no mismatch";
    } else {
      text << count << " mismatches, worst at [" << worst << "]: got " << got << ", want " << want << " +- " << tolerance;
    }
    return text.str();
  }
};

namespace detail {

/// How far beyond the tolerance: <= 0 is accepted; infinite if the two cannot be compared.
inline double excess(double got, double want, double tolerance, NonFinite non_finite) {
  constexpr double kNever = std::numeric_limits<double>::infinity();
  if (!std::isfinite(want)) {
    const bool same = std::isnan(want) ? std::isnan(got) : got == want;
    return non_finite == NonFinite::kSameKind && same ? 0.0 : kNever;
  }
  const double difference = std::fabs(got - want);
  if (difference <= tolerance) {  // the accept form: false for NaN
    return 0.0;
  }
  return std::isfinite(difference) ? difference - tolerance : kNever;
}

}  // namespace detail

/// Compares two ranges of numbers element by element. Accepted if |got - want| <= atol + rtol * |want|.
template <typename Got, typename Want>
[[nodiscard]] Mismatch compare(const Got& got, const Want& want, double atol, double rtol = 0.0,
                               NonFinite non_finite = NonFinite::kRefused) {
  Mismatch found;
  const auto size = static_cast<size_t>(std::size(want));
  if (static_cast<size_t>(std::size(got)) != size || size == 0 || !(atol >= 0) || !(rtol >= 0)) {
    found.count = 1;
    found.problem = "sizes or tolerances: got " + std::to_string(std::size(got)) + " elements, want " + std::to_string(size) +
                    " (at least one), atol " + std::to_string(atol) + ", rtol " + std::to_string(rtol);
    return found;
  }
  double worst_excess = 0;
  for (size_t i = 0; i < size; ++i) {
    const auto a = static_cast<double>(std::data(got)[i]);
    const auto b = static_cast<double>(std::data(want)[i]);
    const double tolerance = std::isfinite(b) ? atol + rtol * std::fabs(b) : 0.0;
    const double beyond = detail::excess(a, b, tolerance, non_finite);
    if (beyond > 0) {
      ++found.count;
      if (beyond > worst_excess) {
        worst_excess = beyond;
        found.worst = static_cast<int64_t>(i);
        found.got = a;
        found.want = b;
        found.tolerance = tolerance;
      }
    }
  }
  return found;
}

}  // namespace elek::test
