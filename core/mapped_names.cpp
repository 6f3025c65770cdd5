// SPDX-License-Identifier: Apache-2.0
#include "core/mapped_names.h"

#include <array>
#include <atomic>
#include <cstdint>

namespace elek {
namespace {

/// A place is free while `begin` is 0. Name and end are written before `begin` shows the place to readers.
struct Place {
  std::atomic<bool> taken{false};
  std::atomic<uintptr_t> begin{0}, end{0};
  std::atomic<const char*> name{nullptr};
};
static_assert(std::atomic<uintptr_t>::is_always_lock_free && std::atomic<const char*>::is_always_lock_free,
              "a signal handler may only touch lock-free atomics");

constexpr size_t kPlaces = 64;
std::array<Place, kPlaces> places;

}  // namespace

MappedName::MappedName(const void* begin, size_t bytes, const char* name) noexcept {
  for (size_t i = 0; i < kPlaces; ++i) {
    Place& place = places.at(i);
    if (place.taken.exchange(true)) continue;
    place_ = static_cast<int>(i);
    place.name = name;
    place.end = reinterpret_cast<uintptr_t>(begin) + bytes;
    place.begin = reinterpret_cast<uintptr_t>(begin);
    return;
  }
}

MappedName::~MappedName() {
  if (place_ < 0) return;
  Place& place = places.at(static_cast<size_t>(place_));
  place.begin = 0;
  place.taken = false;
}

const char* mapped_name_at(const void* address) noexcept {
  const auto at = reinterpret_cast<uintptr_t>(address);
  for (const Place& place : places) {
    if (const uintptr_t begin = place.begin; begin != 0 && at >= begin && at < place.end) return place.name;
  }
  return nullptr;
}

}  // namespace elek
