// SPDX-License-Identifier: Apache-2.0
// Why memory was refused, as a sum: what each use holds, the pool's free pieces, the request, and the limit. main() prints it
// under the error, after everything else of the command is gone. Tests: tests/cli/memory_account_test.cpp
#pragma once

#include <cstdint>
#include <string>

#include "core/memory/ledger.h"
#include "elek/memory.h"

namespace elek::cli {

/// Passes everything on. When memory is refused, it remembers the sum for refusal_text().
class ExplainRefusals final : public Policy {
 public:
  ExplainRefusals(Ledger& ledger, const Pool& pool)
      : Policy(static_cast<MemoryResource&>(ledger)), ledger_(ledger), pool_(pool) {}

 private:
  void* do_allocate(size_t bytes, const BlockLabel& label, Stream stream) override;
  void do_deallocate(void* block, size_t bytes, Stream stream) noexcept override;
  const Ledger& ledger_;
  const Pool& pool_;
};

/// The command runs sessions with batches of so many images: whether a smaller batch may help.
void remember_batch(int64_t batch);

/// Lines below the error message: the sum if this error is the remembered refusal, and what would help in this command.
[[nodiscard]] std::string refusal_text(const OutOfMemory& error);

}  // namespace elek::cli
