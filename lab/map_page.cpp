// SPDX-License-Identifier: Apache-2.0
#include "lab/map_page.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "lab/svg.h"

namespace elek {

namespace page {  // made from lab/page/ by cmake/EmbedText.cmake
extern const char* const kMapHtml;
extern const char* const kMapCss;
extern const char* const kMapJs;
}  // namespace page

namespace {

using Json = nlohmann::ordered_json;

Json panel_json(const Replay& replay) {
  return {{"key", name_of(replay.strategy)},
          {"title", title_of(replay.strategy)},
          {"reserved", replay.peak_reserved_bytes},
          {"waste", replay.waste()},
          {"kept", replay.strategy == Strategy::kSeparate},
          {"offset", replay.offsets},
          {"room", replay.bytes}};
}

Json set_json(const MapSet& set) {
  ELEK_CHECK(!set.trace.steps.empty(), "a memory map of a trace without steps");
  Json name = Json::array(), detail = Json::array(), bytes = Json::array(), first = Json::array(), last = Json::array(),
       workspace = Json::array(), panels = Json::array();
  for (const Trace::Block& b : set.trace.blocks) {
    name.push_back(b.label);
    detail.push_back(b.detail);
    bytes.push_back(b.bytes);
    first.push_back(b.first_step);
    last.push_back(b.last_step);
    workspace.push_back(b.workspace ? 1 : 0);
  }
  size_t bound = 0;
  for (const Replay& r : set.replays) {
    bound = r.peak_live_bytes;
    if (!r.offsets.empty()) panels.push_back(panel_json(r));
  }
  ELEK_CHECK(!panels.empty(), "a memory map without an allocator that has offsets");
  return {{"name", set.name},
          {"bound", bound},
          {"steps", set.trace.steps},
          {"blocks",
           {{"name", name}, {"detail", detail}, {"bytes", bytes}, {"first", first}, {"last", last}, {"workspace", workspace}}},
          {"panels", panels}};
}

Json sweep_json(const MapSweep& sweep) {
  Json rows = Json::array();
  for (const MapSweep::Row& row : sweep.rows) rows.push_back({{"x", row.x}, {"bytes", row.bytes}});
  return {{"title", sweep.title}, {"x_label", sweep.x_label}, {"note", sweep.note}, {"series", sweep.series}, {"rows", rows}};
}

/// Replaces every `mark` of the template.
void put(std::string& text, const std::string& mark, const std::string& value) {
  for (size_t at = text.find(mark); at != std::string::npos; at = text.find(mark, at + value.size())) {
    text.replace(at, mark.size(), value);
  }
}

}  // namespace

std::string map_page_html(const MapPage& page) {
  ELEK_CHECK(!page.sets.empty(), "a memory map without a trace");
  Json session = Json::array(), weights = {{"name", Json::array()}, {"bytes", Json::array()}}, sets = Json::array(),
       sweeps = Json::array();
  for (const auto& [name, bytes] : page.session) session.push_back({{"name", name}, {"bytes", bytes}});
  for (const auto& [name, bytes] : page.weights) {
    weights["name"].push_back(name);
    weights["bytes"].push_back(bytes);
  }
  for (const MapSet& set : page.sets) sets.push_back(set_json(set));
  for (const MapSweep& sweep : page.sweeps) sweeps.push_back(sweep_json(sweep));
  const Json data = {{"session", session}, {"weights", weights}, {"sets", sets}, {"sweeps", sweeps}};
  // Names come from files: a text that is no UTF-8 is mended, and "<" is escaped, so no name can end the script element.
  std::string json = data.dump(-1, ' ', false, Json::error_handler_t::replace);
  put(json, "<", "\\u003c");
  std::string html = page::kMapHtml;
  put(html, "@TITLE@", svg::escaped(page.title));
  put(html, "@CSS@", page::kMapCss);
  put(html, "@JS@", page::kMapJs);
  put(html, "@DATA@", json);
  return html;
}

}  // namespace elek
