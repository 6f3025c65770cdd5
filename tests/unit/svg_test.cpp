// SPDX-License-Identifier: Apache-2.0
// The pieces of SVG: text that cannot break the document, numbers, ticks.
#include "lab/svg.h"

#include <gtest/gtest.h>

namespace elek {
namespace {

TEST(Svg, EscapesWhatWouldEndATextOrAnAttribute) {
  EXPECT_EQ(svg::escaped("a<b> & \"c\"\n"), "a&lt;b&gt; &amp; &quot;c&quot; ");
  EXPECT_EQ(svg::text(1, 2.5, 12, "<&"), "<text x=\"1.00\" y=\"2.50\" font-size=\"12.0\" >&lt;&amp;</text>\n");
}

TEST(Svg, AnAxisHasThreeToSevenTicks) {
  for (double most = 1e-3; most < 1e6; most *= 1.07) {
    const double ticks = most / svg::tick(most);
    EXPECT_TRUE(ticks >= 2 && ticks <= 5.0000001) << most << ": " << ticks;  // and one at zero
  }
  EXPECT_DOUBLE_EQ(svg::tick(10), 2);
  EXPECT_DOUBLE_EQ(svg::tick(0.06), 0.02);
}

}  // namespace
}  // namespace elek
