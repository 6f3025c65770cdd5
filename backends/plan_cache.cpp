// SPDX-License-Identifier: Apache-2.0
// An entry: "elekplan", version, hash of all that follows; then key, engine, time and plan. Key, engine and plan have their
// length before them. Native byte order: a cache belongs to one machine. Tests: tests/backends/plan_cache_test.cpp
#include "backends/plan_cache.h"

#include <unistd.h>

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "core/runtime.h"

namespace elek::backends {
namespace {

constexpr char kMagic[8] = {'e', 'l', 'e', 'k', 'p', 'l', 'a', 'n'};
constexpr uint64_t kVersion = 1;
constexpr size_t kHeaderBytes = sizeof(kMagic) + 2 * sizeof(uint64_t);
constexpr uintmax_t kMostBytes = uintmax_t{1} << 30;

void put(std::vector<uint8_t>& to, const void* data, size_t bytes) {
  const size_t before = to.size();
  to.resize(before + bytes);
  if (bytes != 0) std::memcpy(to.data() + before, data, bytes);
}

void put_sized(std::vector<uint8_t>& to, const void* data, uint64_t bytes) {
  put(to, &bytes, sizeof(bytes));
  put(to, data, bytes);
}

/// Takes the next `bytes` bytes. False, and takes nothing, if there are fewer.
bool take(std::span<const uint8_t>& from, void* to, size_t bytes) {
  if (from.size() < bytes) return false;
  if (bytes != 0) std::memcpy(to, from.data(), bytes);
  from = from.subspan(bytes);
  return true;
}

template <typename Bytes>
bool take_sized(std::span<const uint8_t>& from, Bytes& to) {
  uint64_t bytes = 0;
  if (!take(from, &bytes, sizeof(bytes)) || bytes > from.size()) return false;
  to.resize(bytes);
  return take(from, to.data(), bytes);
}

}  // namespace

std::vector<uint8_t> encode(const std::string& key, const CachedPlan& entry) {
  std::vector<uint8_t> body;
  put_sized(body, key.data(), key.size());
  put_sized(body, entry.engine.data(), entry.engine.size());
  put(body, &entry.time_us, sizeof(entry.time_us));
  put_sized(body, entry.plan.data(), entry.plan.size());
  std::vector<uint8_t> bytes;
  put(bytes, kMagic, sizeof(kMagic));
  put(bytes, &kVersion, sizeof(kVersion));
  const uint64_t hash = hash_bytes(body.data(), body.size());
  put(bytes, &hash, sizeof(hash));
  put(bytes, body.data(), body.size());
  return bytes;
}

Result<CachedPlan> decode(const std::string& key, std::span<const uint8_t> bytes) {
  if (bytes.size() < kHeaderBytes || std::memcmp(bytes.data(), kMagic, sizeof(kMagic)) != 0) return No{"not a plan file"};
  uint64_t version = 0;
  uint64_t hash = 0;
  std::memcpy(&version, bytes.data() + sizeof(kMagic), sizeof(version));
  std::memcpy(&hash, bytes.data() + sizeof(kMagic) + sizeof(version), sizeof(hash));
  if (version != kVersion) return No{"a plan file of version " + std::to_string(version)};
  bytes = bytes.subspan(kHeaderBytes);
  if (hash != hash_bytes(bytes.data(), bytes.size())) return No{"corrupt"};
  std::string found;
  CachedPlan entry;
  if (!take_sized(bytes, found)) return No{"corrupt"};
  if (found != key) return No{"has another key"};
  if (!take_sized(bytes, entry.engine) || !take(bytes, &entry.time_us, sizeof(entry.time_us)) ||
      !take_sized(bytes, entry.plan) || !bytes.empty() || !(entry.time_us >= 0)) {
    return No{"corrupt"};
  }
  return entry;
}

std::string PlanCache::default_directory() {
  const auto variable = [](const char* name) {
    const char* value = std::getenv(name);
    return std::string(value == nullptr ? "" : value);
  };
  if (const std::string own = variable("ELEK_CACHE_DIR"); !own.empty()) return own == "off" ? "" : own + "/plans";
  if (const std::string xdg = variable("XDG_CACHE_HOME"); !xdg.empty()) return xdg + "/elek/plans";
  if (const std::string home = variable("HOME"); !home.empty()) return home + "/.cache/elek/plans";
  return {};
}

std::string PlanCache::path_of(const std::string& key) const {
  return directory_ + "/" + to_hex(hash_bytes(key.data(), key.size())) + ".plan";
}

Result<CachedPlan> PlanCache::load(const std::string& key) const {
  if (directory_.empty()) return No{"no cache"};
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(path_of(key), error);
  if (error) return No{"no entry"};
  if (size > kMostBytes) return No{"corrupt"};
  std::ifstream file(path_of(key), std::ios::binary);
  const std::vector<uint8_t> bytes((std::istreambuf_iterator<char>(file)), {});
  return decode(key, bytes);
}

Result<bool> PlanCache::store(const std::string& key, const CachedPlan& entry) const {
  if (directory_.empty()) return false;
  std::error_code error;
  std::filesystem::create_directories(directory_, error);
  if (error) return No{directory_ + ": " + error.message()};
  const std::string path = path_of(key);
  static std::atomic<uint64_t> turn{0};  // two sessions of one process may store the same key at the same time
  const std::string temporary = path + ".tmp-" + std::to_string(getpid()) + "-" + std::to_string(turn++);
  const std::vector<uint8_t> bytes = encode(key, entry);
  std::ofstream file(temporary, std::ios::binary | std::ios::trunc);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
  file.close();
  if (file.fail()) {
    std::filesystem::remove(temporary, error);
    return No{temporary + ": could not be written"};
  }
  std::filesystem::rename(temporary, path, error);
  if (error) {
    const std::string reason = path + ": " + error.message();
    std::filesystem::remove(temporary, error);
    return No{reason};
  }
  return true;
}

}  // namespace elek::backends
