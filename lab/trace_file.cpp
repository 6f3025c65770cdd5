// SPDX-License-Identifier: Apache-2.0
#include "lab/trace_file.h"

#include <algorithm>
#include <charconv>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <sstream>

#include "core/error.h"
#include "core/file.h"
#include "lab/snapshot_writer.h"
#include "models/torch/memory_snapshot.h"

namespace elek {
namespace {

using Json = nlohmann::ordered_json;
constexpr int64_t kMostSteps = 10'000'000, kMostBytes = int64_t{1} << 50U;

/// A line of a text file, for errors.
struct Line {
  const std::string& path;
  size_t number = 0;
  [[noreturn]] void fail(const std::string& words) const {
    throw InputError(path + ", line " + std::to_string(number) + ": " + words);
  }
};

std::vector<std::string> lines_of(const std::string& path) {
  const std::vector<uint8_t> bytes = read_whole_file(path);
  std::istringstream text(std::string(bytes.begin(), bytes.end()));
  std::vector<std::string> lines;
  for (std::string line; std::getline(text, line);) {
    if (line.ends_with('\r')) line.pop_back();
    lines.push_back(line);
  }
  return lines;
}

/// The cells of a line; one in double quotes may contain commas and doubled quotes.
std::vector<std::string> cells_of(const std::string& line) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const char c = line[i];
    if (c == '"' && quoted && i + 1 < line.size() && line[i + 1] == '"') {
      cells.back() += '"';
      ++i;
    } else if (c == '"') {
      quoted = !quoted;
    } else if (c == ',' && !quoted) {
      cells.emplace_back();
    } else if (quoted || (c != ' ' && c != '\t') || (!cells.back().empty() && i + 1 < line.size() && line[i + 1] != ',')) {
      cells.back() += c;
    }
  }
  return cells;
}

std::string quoted(const std::string& cell) {
  if (cell.find_first_of(",\" \t\r\n") == std::string::npos) return cell;
  std::string made = "\"";
  for (const char c : cell) made += c == '"' ? std::string("\"\"") : std::string(1, c == '\n' || c == '\r' ? ' ' : c);
  return made + "\"";
}

int64_t number_of(const Line& line, const std::string& column, const std::string& cell, int64_t least, int64_t most) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (error != std::errc() || end != cell.data() + cell.size() || value < least || value > most) {
    line.fail("'" + column + "' is '" + cell + "', expected a whole number from " + std::to_string(least) + " to " +
              std::to_string(most));
  }
  return value;
}

/// Rows of the columns that are asked for, in that order. The header may have others beside them, in any order.
struct Row {
  size_t line = 0;
  std::vector<std::string> cells;
};
std::vector<Row> read_csv(const std::string& path, const std::vector<std::string>& columns) {
  const std::vector<std::string> lines = lines_of(path);
  std::string header;
  for (const std::string& column : columns) header += (header.empty() ? "" : ",") + column;
  std::vector<size_t> places;
  std::vector<Row> rows;
  for (size_t i = 0; i < lines.size(); ++i) {
    const Line line{path, i + 1};
    if (lines[i].empty() || lines[i][0] == '#') continue;
    const std::vector<std::string> cells = cells_of(lines[i]);
    if (places.empty()) {
      for (const std::string& column : columns) {
        const auto found = std::find(cells.begin(), cells.end(), column);
        if (found == cells.end()) line.fail("expected the header " + header + ", found " + lines[i]);
        places.push_back(static_cast<size_t>(found - cells.begin()));
      }
      continue;
    }
    Row row{i + 1, {}};
    for (const size_t place : places) {
      if (place >= cells.size()) line.fail("expected " + header + ", found " + lines[i]);
      row.cells.push_back(cells[place]);
    }
    rows.push_back(std::move(row));
  }
  if (rows.empty()) throw InputError(path + ": no row; expected the header " + header + " and a line for each block");
  return rows;
}

void add_block(const Line& line, Trace& trace, const std::string& name, int64_t bytes, int64_t first, int64_t last) {
  if (last < first)
    line.fail("'" + name + "' ends at step " + std::to_string(last) + ", before it begins at " + std::to_string(first));
  trace.blocks.push_back({name, name, static_cast<size_t>(bytes), static_cast<int32_t>(first - 1),
                          static_cast<int32_t>(last - 1), name.starts_with("workspace of ")});
  if (trace.steps.size() < static_cast<size_t>(last)) trace.steps.resize(static_cast<size_t>(last));
}

Trace read_lifetimes(const std::string& path) {
  Trace trace;
  for (const Row& row : read_csv(path, {"name", "bytes", "first", "last"})) {
    const Line line{path, row.line};
    add_block(line, trace, row.cells[0], number_of(line, "bytes", row.cells[1], 1, kMostBytes),
              number_of(line, "first", row.cells[2], 1, kMostSteps), number_of(line, "last", row.cells[3], 1, kMostSteps));
  }
  schedule(trace);
  return trace;
}

int64_t number_of(const Line& line, const Json& object, const char* key, int64_t least, int64_t most) {
  const auto found = object.find(key);
  if (found == object.end()) line.fail(std::string("no \"") + key + "\"");
  if (!found->is_number_integer() || found->get<int64_t>() < least || found->get<int64_t>() > most) {
    line.fail(std::string("\"") + key + "\" is " + found->dump() + ", expected a whole number from " + std::to_string(least) +
              " to " + std::to_string(most));
  }
  return found->get<int64_t>();
}

std::string name_in(const Line& line, const Json& object) {
  const auto found = object.find("name");
  if (found == object.end()) return "";
  if (!found->is_string()) line.fail("\"name\" is " + found->dump() + ", expected a text");
  return found->get<std::string>();
}

Trace read_json_lines(const std::string& path) {
  Trace trace;
  std::vector<Tracker::Event> events;
  std::set<int64_t> alive;
  const std::vector<std::string> lines = lines_of(path);
  for (size_t i = 0; i < lines.size(); ++i) {
    const Line line{path, i + 1};
    if (lines[i].find_first_not_of(" \t") == std::string::npos) continue;
    const Json object = Json::parse(lines[i], nullptr, false);
    if (!object.is_object()) line.fail("expected one JSON object, found " + lines[i].substr(0, 60));
    if (!object.contains("event")) {
      if (!object.contains("bytes")) {
        line.fail(
            R"(expected {"name":"x","bytes":64,"first":1,"last":3} or {"event":"allocate","block":7,"bytes":64}, found )" +
            lines[i].substr(0, 60));
      }
      add_block(line, trace, name_in(line, object), number_of(line, object, "bytes", 1, kMostBytes),
                number_of(line, object, "first", 1, kMostSteps), number_of(line, object, "last", 1, kMostSteps));
    } else {
      const Json& what = object["event"];
      if (what != "allocate" && what != "free")
        line.fail(R"("event" is )" + what.dump() + R"(, expected "allocate" or "free")");
      const int64_t block = number_of(line, object, "block", 0, INT64_MAX);
      if (what == "allocate") {
        if (!alive.insert(block).second) line.fail("block " + std::to_string(block) + " is allocated, but it is alive already");
        const std::string name = name_in(line, object);
        events.push_back({true, static_cast<size_t>(number_of(line, object, "bytes", 1, kMostBytes)),
                          static_cast<uint64_t>(block), name.empty() ? "block " + std::to_string(block) : name});
      } else {
        if (alive.erase(block) == 0) line.fail("block " + std::to_string(block) + " is freed, but it is not alive");
        events.push_back({false, 0, static_cast<uint64_t>(block), ""});
      }
    }
    if (!trace.blocks.empty() && !events.empty())
      line.fail("blocks with lifetimes and events in one file; use one of the two forms");
  }
  if (!events.empty()) return trace_of(events);
  if (trace.blocks.empty()) throw InputError(path + ": no block; expected one JSON object a line");
  schedule(trace);
  return trace;
}

Trace read_snapshot(const std::string& path) {
  std::vector<Tracker::Event> events;
  for (const MemorySnapshot::Event& e : read_memory_snapshot(path).events) {
    events.push_back({e.allocation, e.bytes, e.address, e.label});
  }
  Trace trace = trace_of(events);
  if (trace.blocks.empty()) throw InputError(path + ": frees blocks only; none was allocated while PyTorch recorded");
  return trace;
}

std::string lifetimes_csv(const Trace& trace) {
  std::string text = "name,bytes,first,last\n";
  for (const Trace::Block& b : trace.blocks) {
    text += quoted(b.label) + "," + std::to_string(b.bytes) + "," + std::to_string(b.first_step + 1) + "," +
            std::to_string(b.last_step + 1) + "\n";
  }
  return text;
}

std::string dumped(const Json& json) { return json.dump(-1, ' ', false, Json::error_handler_t::replace); }

std::string json_lines(const Trace& trace, TraceForm form) {
  std::string text;
  if (form == TraceForm::kLifetimes) {
    for (const Trace::Block& b : trace.blocks) {
      text += dumped({{"name", b.label}, {"bytes", b.bytes}, {"first", b.first_step + 1}, {"last", b.last_step + 1}}) + "\n";
    }
    return text;
  }
  for (const Trace::Event& e : trace.events) {
    const Trace::Block& b = trace.blocks[static_cast<size_t>(e.block)];
    text += (e.allocation ? dumped({{"event", "allocate"}, {"block", e.block + 1}, {"bytes", b.bytes}, {"name", b.label}})
                          : dumped({{"event", "free"}, {"block", e.block + 1}})) +
            "\n";
  }
  return text;
}

/// Chrome's trace events: a counter of the bytes alive, and a slice for each block. A step is a microsecond.
std::string perfetto(const Trace& trace) {
  Json events = Json::array();
  const std::vector<size_t> alive = alive_at_steps(trace);
  for (size_t step = 0; step < alive.size(); ++step) {
    events.push_back({{"name", "bytes alive"}, {"ph", "C"}, {"ts", step}, {"pid", 1}, {"args", {{"bytes", alive[step]}}}});
  }
  for (size_t i = 0; i < trace.blocks.size(); ++i) {
    const Trace::Block& b = trace.blocks[i];
    for (const char* phase : {"b", "e"}) {
      events.push_back({{"name", b.label},
                        {"cat", b.workspace ? "workspace" : "tensor"},
                        {"ph", phase},
                        {"id", i + 1},
                        {"ts", *phase == 'b' ? b.first_step : b.last_step + 1},
                        {"pid", 1},
                        {"tid", 1},
                        {"args", {{"bytes", b.bytes}}}});
    }
  }
  return dumped({{"traceEvents", events}, {"displayTimeUnit", "ns"}}) + "\n";
}

}  // namespace

bool is_readable_trace(const std::string& path) {
  return path.ends_with(".csv") || path.ends_with(".jsonl") || path.ends_with(".pickle");
}

bool is_writable_trace(const std::string& path) { return is_readable_trace(path) || path.ends_with(".json"); }

Trace read_trace(const std::string& path) {
  if (path.ends_with(".csv")) return read_lifetimes(path);
  if (path.ends_with(".jsonl")) return read_json_lines(path);
  if (path.ends_with(".pickle")) return read_snapshot(path);
  throw InputError(path + ": expected a trace whose name ends in " + kReadableTraces);
}

std::string trace_text(const Trace& trace, const std::string& path, TraceForm form) {
  if (path.ends_with(".csv")) return lifetimes_csv(trace);
  if (path.ends_with(".jsonl")) return json_lines(trace, form);
  if (path.ends_with(".pickle")) return snapshot_pickle(trace);
  if (path.ends_with(".json")) return perfetto(trace);
  throw InputError(path + ": expected a name that ends in " + kWritableTraces);
}

std::vector<size_t> read_placement(const std::string& path, const Trace& trace) {
  std::map<std::string, std::vector<size_t>> by_name;
  for (size_t i = 0; i < trace.blocks.size(); ++i) by_name[trace.blocks[i].label].push_back(i);
  std::vector<std::optional<size_t>> offsets(trace.blocks.size());
  for (const Row& row : read_csv(path, {"block", "offset"})) {
    const Line line{path, row.line};
    const auto offset = static_cast<size_t>(number_of(line, "offset", row.cells[1], 0, kMostBytes));
    size_t block = 0;
    if (const auto found = by_name.find(row.cells[0]); found != by_name.end()) {
      if (found->second.size() > 1) {
        line.fail(std::to_string(found->second.size()) + " blocks are named '" + row.cells[0] +
                  "'; give the number of the block in the trace instead, from 1");
      }
      block = found->second.front();
    } else if (!row.cells[0].empty() && row.cells[0].find_first_not_of("0123456789") == std::string::npos) {
      block = static_cast<size_t>(number_of(line, "block", row.cells[0], 1, static_cast<int64_t>(trace.blocks.size()))) - 1;
    } else {
      line.fail("the trace has no block '" + row.cells[0] + "'; the steps of the trace name its blocks");
    }
    if (offsets[block]) line.fail("'" + trace.blocks[block].label + "' has an offset already");
    offsets[block] = offset;
  }
  std::vector<size_t> made;
  for (size_t i = 0; i < offsets.size(); ++i) {
    if (!offsets[i] && trace.blocks[i].bytes > 0) {
      throw InputError(path + ": no offset for block " + std::to_string(i + 1) + ", '" + trace.blocks[i].label + "'");
    }
    made.push_back(offsets[i].value_or(0));
  }
  return made;
}

}  // namespace elek
