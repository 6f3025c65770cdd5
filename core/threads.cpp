// SPDX-License-Identifier: Apache-2.0
// A team is a thread and its helpers. The thread publishes a job (number, parts), helpers see a new number and claim parts.
// A part is claimed by writing the job's number into its claim word, so a helper that comes too late finds nothing to claim.
// Sleeping uses the system's futex, because a wait must end early when the job is done and must not spin for longer than we
// decide. Tests: tests/unit/threads_test.cpp
#include "core/threads.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <string>
#include <thread>
#include <vector>

namespace elek {
namespace {

using Clock = std::chrono::steady_clock;

/// How long a thread spins before it sleeps. Waking a sleeping thread takes 5 to 50 microseconds, and the pause between two
/// layers of a small network about 5. Longer spinning takes time from other programs, and from a helper that lost its core.
constexpr std::chrono::microseconds kHelperSpins{50};
constexpr std::chrono::microseconds kCallerSpins{20};
/// A helper that lost its core to another program holds its part for a time slice, some milliseconds. The caller notices when
/// it waits for that much longer than it worked. It then works alone for as long as it waited, and twice as long each time it
/// happens again soon, at most kAloneMost. So a crowded machine costs a few percent, not a time slice per layer, and a single
/// interruption costs little.
constexpr std::chrono::milliseconds kLateHelper{2}, kAloneMost{320};
constexpr int kMostParts = 1024;  // more parts are run in rounds

/// Sleeps while the word is `expected`, until a wake whose bits meet these.
void futex_wait(const std::atomic<uint32_t>& word, uint32_t expected, uint32_t bits) noexcept {
  syscall(SYS_futex, &word, FUTEX_WAIT_BITSET_PRIVATE, expected, nullptr, nullptr, bits);
}
void futex_wake(const std::atomic<uint32_t>& word, uint32_t bits) noexcept {
  syscall(SYS_futex, &word, FUTEX_WAKE_BITSET_PRIVATE, std::numeric_limits<int>::max(), nullptr, nullptr, bits);
}
constexpr uint32_t kAllBits = ~uint32_t{0};

/// Helper i sleeps under bit i % 32, so that a job wakes the helpers that it has parts for, and few others.
uint32_t bit_of(int helper) noexcept { return uint32_t{1} << (helper % 32); }
uint32_t bits_of_helpers(int parts) noexcept {
  return parts > 32 ? kAllBits : static_cast<uint32_t>((uint64_t{1} << parts) - 2);
}

/// True while the thread runs a part, and always on a helper: parts of a part are run where they are.
thread_local bool inside_part = false;

inline void pause_briefly() noexcept {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("isb");
#endif
}

/// Spins until done() or the time is up. Returns done().
template <typename Done>
bool spin(std::chrono::microseconds time, const Done& done) noexcept {
  for (int i = 0; i < 64; ++i) {
    if (done()) return true;
    pause_briefly();
  }
  const auto end = Clock::now() + time;
  do {
    for (int i = 0; i < 16; ++i) {
      if (done()) return true;
      pause_briefly();
    }
  } while (Clock::now() < end);
  return done();
}

class Team {
 public:
  void run(int parts, detail::PartCall call, const void* context) noexcept;
  bool run_on_each(int threads, detail::PartCall call, const void* context) noexcept;
  Team() = default;
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;
  ~Team();

 private:
  struct alignas(64) Word {
    std::atomic<uint32_t> value{0};
  };
  /// A job in one word, so that number and parts are read together.
  struct Job {
    uint64_t number;
    int parts;
    bool each;  // thread i runs part i and nothing else
  };
  static constexpr int kPartBits = 11;
  static_assert(kMostParts < 1 << kPartBits);
  static uint64_t pack(const Job& job) noexcept {
    return job.number << (kPartBits + 1) | uint64_t{job.each} << kPartBits | static_cast<uint64_t>(job.parts);
  }
  static Job unpack(uint64_t word) noexcept {
    return {word >> (kPartBits + 1), static_cast<int>(word & ((1U << kPartBits) - 1)), (word >> kPartBits & 1) != 0};
  }

  int helpers(int wanted) noexcept;
  void run_job(int parts, bool each, detail::PartCall call, const void* context) noexcept;
  bool finish() noexcept;
  [[nodiscard]] bool works_alone() const noexcept { return alone_.count() != 0 && Clock::now() < alone_until_; }
  void note_wait(Clock::duration worked, Clock::duration waited) noexcept;
  void help(int index) noexcept;
  void claim_parts(int self, const Job& job) noexcept;
  void run_part(int part) noexcept;

  // Written by the owner before it publishes a job, read by whoever has claimed a part of it.
  detail::PartCall call_ = nullptr;
  const void* context_ = nullptr;

  alignas(64) std::atomic<uint64_t> job_{0};
  Word news_;          // low bits of the job's number: what sleeping helpers wait on
  Word unfinished_;    // parts that are not done: what the sleeping owner waits on
  Word sleeping_;      // helpers that sleep, or are about to
  Word owner_sleeps_;  // 1 while the owner sleeps, or is about to
  std::atomic<bool> stop_{false};
  std::array<std::atomic<uint64_t>, kMostParts> claims_{};  // number of the last job in which the part was claimed
  uint64_t last_number_ = 0;
  const pid_t process_ = getpid();
  std::vector<std::thread> helpers_;
  bool refused_ = false;  // the system gave no more threads
  Clock::duration alone_{0};
  Clock::time_point alone_until_{};
};

/// Starts helpers until there are `wanted`; returns how many there are.
int Team::helpers(int wanted) noexcept {
  const int most = std::min(wanted, kMostParts - 1);
  while (!refused_ && static_cast<int>(helpers_.size()) < most) {
    try {
      const int index = static_cast<int>(helpers_.size()) + 1;
      helpers_.emplace_back([this, index] { help(index); });
      pthread_setname_np(helpers_.back().native_handle(), "elek helper");
    } catch (...) {  // no thread, or no memory for one: the work is done with fewer
      refused_ = true;
    }
  }
  return std::min(static_cast<int>(helpers_.size()), most);
}

void Team::run_part(int part) noexcept {
  call_(context_, part);
  if (unfinished_.value.fetch_sub(1) == 1 && owner_sleeps_.value.load() != 0) futex_wake(unfinished_.value, kAllBits);
}

/// Begins with the thread's own part, so that a thread meets the same weights again in the next run.
void Team::claim_parts(int self, const Job& job) noexcept {
  for (int i = 0; i < (job.each ? 1 : job.parts); ++i) {
    std::atomic<uint64_t>& claim = claims_[static_cast<size_t>((self + i) % job.parts)];
    uint64_t last = claim.load(std::memory_order_relaxed);
    while (last < job.number) {  // not claimed in this job; and if this job is over, then all its parts are
      if (claim.compare_exchange_weak(last, job.number)) {
        run_part((self + i) % job.parts);
        break;
      }
    }
  }
}

/// Waits until all parts are done. True if it slept.
bool Team::finish() noexcept {
  if (spin(kCallerSpins, [this] { return unfinished_.value.load(std::memory_order_acquire) == 0; })) return false;
  owner_sleeps_.value.store(1);
  while (const uint32_t left = unfinished_.value.load()) futex_wait(unfinished_.value, left, kAllBits);
  owner_sleeps_.value.store(0);
  return true;
}

void Team::note_wait(Clock::duration worked, Clock::duration waited) noexcept {
  const Clock::time_point now = Clock::now();
  if (waited > worked + kLateHelper) {
    alone_ = std::clamp<Clock::duration>(2 * alone_, waited, std::max<Clock::duration>(waited, kAloneMost));
    alone_until_ = now + alone_;
  } else if (now > alone_until_ + alone_) {
    alone_ = Clock::duration::zero();  // helpers have been in time for as long
  }
}

/// Either the helper sees a new job before it sleeps, or run_job() sees that it sleeps: both write before they read.
void Team::help(int index) noexcept {
  inside_part = true;
  uint32_t seen = 0;
  while (true) {
    const auto news = [this, &seen] { return news_.value.load() != seen; };
    if (!spin(kHelperSpins, news)) {
      sleeping_.value.fetch_add(1);
      while (!news()) futex_wait(news_.value, seen, bit_of(index));
      sleeping_.value.fetch_sub(1);
    }
    seen = news_.value.load();
    if (stop_.load()) return;
    const Job job = unpack(job_.load(std::memory_order_acquire));
    if (index < job.parts) claim_parts(index, job);
  }
}

void Team::run_job(int parts, bool each, detail::PartCall call, const void* context) noexcept {
  inside_part = true;
  const Clock::time_point start = Clock::now();
  call_ = call;
  context_ = context;
  const Job job{++last_number_, parts, each};
  unfinished_.value.store(static_cast<uint32_t>(parts), std::memory_order_relaxed);
  job_.store(pack(job), std::memory_order_release);
  news_.value.store(static_cast<uint32_t>(job.number));
  if (sleeping_.value.load() != 0) futex_wake(news_.value, bits_of_helpers(parts));
  claim_parts(0, job);
  if (!each) {
    const Clock::time_point worked = Clock::now();
    const bool slept = finish();
    if (slept || alone_.count() != 0) note_wait(worked - start, Clock::now() - worked);
  } else {
    (void)finish();
  }
  inside_part = false;
}

void Team::run(int parts, detail::PartCall call, const void* context) noexcept {
  if (inside_part || works_alone() || helpers(std::min(parts, usable_cores()) - 1) == 0) {
    for (int part = 0; part < parts; ++part) call(context, part);
    return;
  }
  struct Round {
    detail::PartCall call;
    const void* context;
    int first;
  };
  for (int first = 0; first < parts; first += kMostParts) {
    const Round round{call, context, first};
    const auto call_round = [](const void* of, int part) {
      const auto& r = *static_cast<const Round*>(of);
      r.call(r.context, r.first + part);
    };
    run_job(std::min(parts - first, kMostParts), false, call_round, &round);
  }
}

bool Team::run_on_each(int threads, detail::PartCall call, const void* context) noexcept {
  if (inside_part || threads > kMostParts || helpers(threads - 1) < threads - 1) return false;
  run_job(threads, true, call, context);
  return true;
}

/// After fork() the child has no helpers, so there is nothing to join.
Team::~Team() {
  stop_.store(true);
  news_.value.fetch_add(1);
  futex_wake(news_.value, kAllBits);
  for (std::thread& helper : helpers_) {
    if (getpid() == process_) {
      helper.join();
    } else {
      helper.detach();
    }
  }
}

Team& team() {
  thread_local Team own;
  return own;
}

/// CPUs that a quota of `quota` microseconds per `period` allows, rounded up; 0 if there is none.
int cpus_of(double quota, double period) noexcept {
  return quota > 0 && period > 0 ? static_cast<int>(std::ceil(quota / period)) : 0;
}

int smaller_quota(int one, int other) noexcept {
  if (one == 0 || other == 0) return std::max(one, other);
  return std::min(one, other);
}

/// cpu.max of a group of version 2: "max 100000" or "150000 100000".
int quota_v2(const std::string& folder) {
  std::ifstream file(folder + "/cpu.max");
  std::string quota;
  double period = 0;
  if (!(file >> quota >> period) || quota == "max") return 0;
  return cpus_of(std::atof(quota.c_str()), period);
}

int quota_v1(const std::string& folder) {
  double quota = 0, period = 0;
  std::ifstream(folder + "/cpu.cfs_quota_us") >> quota;
  std::ifstream(folder + "/cpu.cfs_period_us") >> period;
  return cpus_of(quota, period);
}

/// The smallest quota of a group and of the groups above it.
template <typename Quota>
int smallest_quota(const std::string& root, std::string group, const Quota& quota_of) {
  int smallest = quota_of(root);
  while (group.size() > 1) {
    smallest = smaller_quota(smallest, quota_of(root + group));
    group.erase(group.rfind('/'));
  }
  return smallest;
}

/// Lines of /proc/self/cgroup are "hierarchy:controllers:path"; version 2 is "0::path".
int control_group_cpus() {
  std::ifstream groups("/proc/self/cgroup");
  int smallest = 0;
  for (std::string line; std::getline(groups, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",", path = line.substr(second + 1);
    if (controllers == ",,") smallest = smaller_quota(smallest, smallest_quota("/sys/fs/cgroup", path, quota_v2));
    if (controllers.find(",cpu,") != std::string::npos)
      smallest = smaller_quota(smallest, smallest_quota("/sys/fs/cgroup/cpu", path, quota_v1));
  }
  return smallest;
}

int count_cores() noexcept {
  int cores = static_cast<int>(std::max(1U, std::thread::hardware_concurrency()));
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) cores = std::max(1, CPU_COUNT(&allowed));
  try {
    if (const int quota = control_group_cpus(); quota > 0) cores = std::min(cores, quota);
  } catch (...) {  // no memory to read them: no quota is known
  }
  return std::min(cores, kMostParts);
}

}  // namespace

int usable_cores() noexcept {
  static const int cores = count_cores();
  return cores;
}

int default_threads() noexcept {
  static const int threads = [] {
    const char* const asked = std::getenv("OMP_NUM_THREADS");  // "4" or "4,2": the first number
    const int number = asked != nullptr ? std::atoi(asked) : 0;
    return number > 0 ? std::min(number, kMostParts) : usable_cores();
  }();
  return threads;
}

namespace detail {

void run_parts(int parts, PartCall call, const void* context) noexcept { team().run(parts, call, context); }
bool run_on_each_thread(int threads, PartCall call, const void* context) noexcept {
  return team().run_on_each(threads, call, context);
}

}  // namespace detail
}  // namespace elek
