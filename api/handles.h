// SPDX-License-Identifier: Apache-2.0
// The contents of the C interface's two handles. Members are destroyed last to first: the session before its memory.
// Tests: tests/api
#pragma once

#include <optional>
#include <utility>

#include "api/caller_memory.h"
#include "api/error.h"
#include "elek/c.h"
#include "elek/graph.h"
#include "elek/session.h"

struct elek_model {  // NOLINT(readability-identifier-naming)
  explicit elek_model(elek::Model given) : model(std::move(given)) {}
  elek::Model model;
};

struct elek_session {  // NOLINT(readability-identifier-naming)
  /// `given` is moved into the session: if nobody else holds its tensors, each is freed as soon as it is packed.
  elek_session(elek::Model given, const elek_options& options);

  mutable elek::api::ErrorText error;  // of the last failed call, also of calls that only read
  elek_model model;                    // without parameters
  elek::api::CallerMemory memory;
  std::optional<elek::Session> session;
};
