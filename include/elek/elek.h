// SPDX-License-Identifier: Apache-2.0
// All of elek's C++ interface. Start with docs/library.md. elek/c.h is the C interface.
#pragma once

// IWYU pragma: begin_exports
#include "elek/batch_source.h"
#include "elek/data.h"
#include "elek/graph.h"
#include "elek/memory.h"
#include "elek/model.h"
#include "elek/options.h"
#include "elek/prune.h"
#include "elek/quantize.h"
#include "elek/session.h"
#include "elek/statistics.h"
#include "elek/train.h"
#include "elek/types.h"
// IWYU pragma: end_exports
