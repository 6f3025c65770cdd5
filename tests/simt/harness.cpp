// SPDX-License-Identifier: Apache-2.0
// See harness.h. One scheduler and one running fibre: no host threads and no locks. All runs with the same seed are the same.
#include "tests/simt/harness.h"

#include <cuda_runtime_api.h>
#ifndef __x86_64__
#include <ucontext.h>
#endif

#include <algorithm>
#include <bit>
#include <cstdlib>
#include <exception>
#include <map>
#include <memory>
#include <new>
#include <vector>

#include "core/runtime.h"
#include "tests/simt/runtime.h"

#if defined(__SANITIZE_ADDRESS__)
#define ELEK_SIMT_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ELEK_SIMT_ASAN 1
#endif
#endif
#ifdef ELEK_SIMT_ASAN
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

uint3 threadIdx, blockIdx;
dim3 blockDim, gridDim;

#ifdef __x86_64__
// elek_simt_switch(void** from, void* to): saves what a function must keep on this stack and goes on where `to` was left.
// swapcontext does the same and calls the system for the signal mask every time.
extern "C" void elek_simt_switch(void** from, void* to);
asm(R"(
.text
.globl elek_simt_switch
.type elek_simt_switch, @function
elek_simt_switch:
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size elek_simt_switch, .-elek_simt_switch
)");
#endif

namespace elek::simt {
namespace {

constexpr size_t kStackBytes = 128 * 1024;
constexpr unsigned kWarp = 32, kMostThreads = 1024;
constexpr size_t kMostShared = 48 * 1024;  // static shared memory of a block

enum class State : uint8_t { kReady, kBarrier, kWarpOp, kDone };

/// Tells AddressSanitizer about the change of stacks; empty without it.
struct Switch {
  void* fake = nullptr;
  void leave(const void* bottom, size_t bytes, bool for_good = false) {
#ifdef ELEK_SIMT_ASAN
    __sanitizer_start_switch_fiber(for_good ? nullptr : &fake, bottom, bytes);
#endif
    (void)bottom, (void)bytes, (void)for_good;
  }
  void arrive(const void** bottom = nullptr, size_t* bytes = nullptr) {
#ifdef ELEK_SIMT_ASAN
    __sanitizer_finish_switch_fiber(fake, bottom, bytes);
#endif
    (void)bottom, (void)bytes;
  }
};

/// Where a stack was left.
class Place {
 public:
#ifdef __x86_64__
  void begin(std::byte* stack, size_t bytes, void (*entry)()) {
    auto* top = reinterpret_cast<void**>(stack + bytes);  // aligned to 16
    std::fill(top - 8, top, nullptr);                     // six registers, the entry, the end of the stack for debuggers
    top[-2] = reinterpret_cast<void*>(entry);             // where the first switch returns to; nothing returns from there
    at_ = top - 8;
  }
  void go_to(Place& next) { elek_simt_switch(&at_, next.at_); }

 private:
  void* at_ = nullptr;
#else
  void begin(std::byte* stack, size_t bytes, void (*entry)()) {
    getcontext(&at_);
    at_.uc_stack.ss_sp = stack;
    at_.uc_stack.ss_size = bytes;
    at_.uc_link = nullptr;
    makecontext(&at_, entry, 0);
  }
  void go_to(Place& next) { swapcontext(&at_, &next.at_); }

 private:
  ucontext_t at_{};
#endif
};

struct Fibre {
  explicit Fibre(size_t index) : colour(index % 64 * 64) {}
  Place left;
  size_t colour;  // stacks that all begin at the same place of a page would share a few lines of the cache
  std::unique_ptr<std::byte[]> stack{new std::byte[kStackBytes]};
  Switch change;
  uint3 place;
  State state = State::kReady;
  const char* file = "";
  int line = 0;
  WarpOp op = WarpOp::kShuffle;
  unsigned mask = 0;
  uint64_t given = 0, taken = 0;
  int source = 0;
};

struct Shared {
  std::unique_ptr<std::byte[]> memory;
  size_t bytes = 0;
};

struct Machine {
  std::vector<std::unique_ptr<Fibre>> fibres;  // reused by every block
  Fibre* running = nullptr;
  Place scheduler;
  Switch change;
  const void* scheduler_stack = nullptr;
  size_t scheduler_stack_bytes = 0;
  Body body{};
  std::exception_ptr failure;
  std::map<const void*, Shared> shared;
  size_t shared_total = 0;
  Random random{1};
  int64_t blocks = 0;
};

Machine& machine() {
  static Machine the_machine;
  return the_machine;
}

std::string where(const char* file, int line) { return std::string(file) + ":" + std::to_string(line); }

/// Entry of every fibre. Exceptions stop here: they cannot cross to another stack.
void fibre_main() {
  Machine& m = machine();
  m.running->change.arrive(&m.scheduler_stack, &m.scheduler_stack_bytes);
  try {
    m.body.call(m.body.data);
  } catch (...) {
    m.failure = std::current_exception();
  }
  Fibre& self = *m.running;
  self.state = State::kDone;
  self.change.leave(m.scheduler_stack, m.scheduler_stack_bytes, true);
  self.left.go_to(m.scheduler);
}

void start(Fibre& fibre) {
#ifdef ELEK_SIMT_ASAN
  __asan_unpoison_memory_region(fibre.stack.get(), kStackBytes);  // a failed block may have left frames behind
#endif
  fibre.left.begin(fibre.stack.get(), kStackBytes - fibre.colour, fibre_main);
  fibre.change.fake = nullptr;
  fibre.state = State::kReady;
}

/// From the scheduler into a fibre, until it waits or ends.
void resume(Fibre& fibre) {
  Machine& m = machine();
  m.running = &fibre;
  threadIdx = fibre.place;
  m.change.leave(fibre.stack.get(), kStackBytes);
  m.scheduler.go_to(fibre.left);
  m.change.arrive();
  m.running = nullptr;
}

/// From the running fibre back into the scheduler.
void wait(State state, const char* file, int line) {
  Machine& m = machine();
  Fibre& self = *m.running;
  self.state = state;
  self.file = file;
  self.line = line;
  self.change.leave(m.scheduler_stack, m.scheduler_stack_bytes);
  self.left.go_to(m.scheduler);
  self.change.arrive(&m.scheduler_stack, &m.scheduler_stack_bytes);
}

/// One block: its threads' states, and what can run.
class Block {
 public:
  explicit Block(unsigned threads) : threads_(threads) {
    Machine& m = machine();
    for (unsigned t = 0; t < threads; ++t) {
      Fibre& fibre = *m.fibres[t];
      fibre.place.x = t % blockDim.x;
      fibre.place.y = t / blockDim.x % blockDim.y;
      fibre.place.z = t / blockDim.x / blockDim.y;
      start(fibre);
      ready_.push_back(t);
    }
  }

  void run() {
    Machine& m = machine();
    while (!ready_.empty()) {
      const size_t pick = m.random.below(ready_.size());
      const unsigned t = ready_[pick];
      ready_[pick] = ready_.back();
      ready_.pop_back();
      Fibre& fibre = *m.fibres[t];
      resume(fibre);
      if (m.failure) std::rethrow_exception(std::exchange(m.failure, nullptr));
      if (fibre.state == State::kDone) ++done_;
      if (fibre.state == State::kBarrier && ++at_barrier_ == threads_) release_barrier();
      if (fibre.state == State::kWarpOp && ++waiting_[t / kWarp] >= std::popcount(fibre.mask)) release_warp(t);
    }
    if (done_ != threads_) explain_deadlock();
  }

 private:
  void release_barrier() {
    Machine& m = machine();
    const Fibre& first = *m.fibres[0];
    for (unsigned t = 0; t < threads_; ++t) {
      Fibre& fibre = *m.fibres[t];
      if (fibre.line != first.line || std::strcmp(fibre.file, first.file) != 0) {
        throw SimtError("barrier divergence: thread 0 waits at " + where(first.file, first.line) + ", thread " +
                        std::to_string(t) + " at " + where(fibre.file, fibre.line));
      }
      fibre.state = State::kReady;
      ready_.push_back(t);
    }
    at_barrier_ = 0;
  }

  /// Lets the lanes of a warp operation go on once all lanes of the mask have arrived at the same one.
  void release_warp(unsigned thread) {
    Machine& m = machine();
    const Fibre& asked = *m.fibres[thread];
    const unsigned base = thread / kWarp * kWarp, mask = asked.mask;
    if ((mask >> (thread % kWarp) & 1U) == 0) {
      throw SimtError("lane " + std::to_string(thread % kWarp) + " is not in the mask of its own warp operation at " +
                      where(asked.file, asked.line));
    }
    uint64_t ballot = 0;
    for (unsigned lane = 0; lane < kWarp; ++lane) {
      if ((mask >> lane & 1U) == 0) continue;
      if (base + lane >= threads_)
        throw SimtError("a warp mask names lanes beyond the block at " + where(asked.file, asked.line));
      const Fibre& fibre = *m.fibres[base + lane];
      if (fibre.state != State::kWarpOp) return;  // not all are here yet
      if (fibre.mask != mask || fibre.line != asked.line || fibre.op != asked.op) {
        throw SimtError("warp divergence: lanes of one mask wait at " + where(asked.file, asked.line) + " and " +
                        where(fibre.file, fibre.line));
      }
      ballot |= fibre.given << lane;
    }
    for (unsigned lane = 0; lane < kWarp; ++lane) {
      if ((mask >> lane & 1U) == 0) continue;
      Fibre& fibre = *m.fibres[base + lane];
      if (fibre.op == WarpOp::kBallot) {
        fibre.taken = ballot;
      } else {
        if (fibre.source < 0 || fibre.source >= static_cast<int>(kWarp) || (mask >> fibre.source & 1U) == 0) {
          throw SimtError("a shuffle reads lane " + std::to_string(fibre.source) + ", which is not in its mask, at " +
                          where(fibre.file, fibre.line));
        }
        fibre.taken = m.fibres[base + static_cast<unsigned>(fibre.source)]->given;
      }
      fibre.state = State::kReady;
      ready_.push_back(base + lane);
    }
    waiting_[thread / kWarp] -= std::popcount(mask);
  }

  [[noreturn]] void explain_deadlock() const {
    std::map<std::string, unsigned> waiting;
    for (unsigned t = 0; t < threads_; ++t) {
      const Fibre& fibre = *machine().fibres[t];
      if (fibre.state == State::kDone) {
        ++waiting["have ended"];
      } else {
        ++waiting[(fibre.state == State::kBarrier ? "wait at the barrier " : "wait at the warp operation ") +
                  where(fibre.file, fibre.line)];
      }
    }
    std::string text = "divergence: no thread of the block can go on:";
    for (const auto& [what, threads] : waiting) text += " " + std::to_string(threads) + " " + what + ";";
    throw SimtError(text);
  }

  unsigned threads_;
  unsigned done_ = 0;
  unsigned at_barrier_ = 0;
  int waiting_[kMostThreads / kWarp] = {};  // lanes of each warp that wait for others: the fewest that may be enough
  std::vector<unsigned> ready_;
};

}  // namespace

void set_seed(uint64_t seed) { machine().random = Random(seed); }
int64_t blocks_run() { return machine().blocks; }

bool check_grid(dim3 grid, dim3 block) {
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads == 0 || threads > kMostThreads || block.z > 64 || grid.x == 0 || grid.y == 0 || grid.z == 0 ||
      grid.x > 0x7fffffffU || grid.y > 65535 || grid.z > 65535) {
    (void)record(cudaErrorInvalidConfiguration);
    return false;
  }
  return true;
}

void run_grid(dim3 grid, dim3 block, const Body& body) {
  const auto lock = one_at_a_time();
  Machine& m = machine();
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  while (m.fibres.size() < threads) m.fibres.push_back(std::make_unique<Fibre>(m.fibres.size()));
  gridDim = grid;
  blockDim = block;
  m.body = body;
  const std::vector<int64_t> order = m.random.permutation(int64_t{grid.x} * grid.y * grid.z);
  for (const int64_t index : order) {
    blockIdx.x = static_cast<unsigned>(index % grid.x);
    blockIdx.y = static_cast<unsigned>(index / grid.x % grid.y);
    blockIdx.z = static_cast<unsigned>(index / grid.x / grid.y);
    m.shared.clear();
    m.shared_total = 0;
    m.failure = nullptr;
    ++m.blocks;
    Block(static_cast<unsigned>(threads)).run();
  }
  m.shared.clear();
}

void sync_threads(const char* file, int line) { wait(State::kBarrier, file, line); }

uint64_t exchange(WarpOp op, unsigned mask, uint64_t value, int source, const char* file, int line) {
  Fibre& self = *machine().running;
  self.op = op;
  self.mask = mask;
  self.given = value;
  self.source = source;
  wait(State::kWarpOp, file, line);
  return self.taken;
}

int lane_id() { return static_cast<int>((threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % kWarp); }

void* shared_bytes(size_t bytes, const void* site) {
  Machine& m = machine();
  Shared& shared = m.shared[site];
  if (shared.memory == nullptr) {
    shared.memory.reset(new std::byte[bytes]);
    shared.bytes = bytes;
    std::memset(shared.memory.get(), 0xFF, bytes);  // NaN as float, double and half; -1 as integers
    m.shared_total += bytes;
    if (m.shared_total > kMostShared) {
      throw SimtError("a block asks for " + std::to_string(m.shared_total) + " bytes of static shared memory, most is 49152");
    }
  }
  return shared.memory.get();
}

void device_check_failed(const char* condition, const char* file, int line) {
  throw SimtError("device check failed at " + where(file, line) + ": " + condition);
}

}  // namespace elek::simt
