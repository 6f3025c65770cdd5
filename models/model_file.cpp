// SPDX-License-Identifier: Apache-2.0
// Model files, and plain weights files with torchvision's names or those of the common CIFAR code.
#include "models/model_file.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <system_error>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/hint.h"
#include "models/sniff.h"
#include "models/text.h"
#include "models/weight_names.h"

namespace elek {

using detail::in_quotes;
using detail::shape_text;

namespace {

constexpr const char* kKey = "elek";

/// A parameter and the buffer for its values.
struct Filling {
  const WeightsFile::Entry* entry;
  Tensor* tensor;
};

/// Reads the values of all parameters with several threads, because touching new memory takes most of the time and one core
/// reaches only a part of the memory's speed. The 178 MB of a ResNet-101 take 0.25 s on a rented machine that must map each
/// page first.
/// Errors    InputError of the first parameter whose values do not fit
void fill(const WeightsFile& file, const std::vector<Filling>& all) {
  constexpr size_t kBytesAThread = size_t{8} << 20, kMostThreads = 4;
  size_t bytes = 0;
  for (const Filling& one : all) bytes += one.tensor->bytes();
  const size_t cores = std::max(1U, std::thread::hardware_concurrency());
  const size_t threads = std::clamp<size_t>(bytes / kBytesAThread, 1, std::min(cores, kMostThreads));
  std::vector<std::exception_ptr> errors(all.size());
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < all.size(); i = next++) {
      try {
        file.read(*all[i].entry, all[i].tensor->f32());
      } catch (...) {
        errors[i] = std::current_exception();
      }
    }
  };
  {
    std::vector<std::jthread> others;
    try {
      for (size_t t = 1; t < threads; ++t) others.emplace_back(work);
    } catch (const std::system_error&) {  // no more threads available: the existing ones do the work
    }
    work();
  }
  for (const std::exception_ptr& error : errors)
    if (error) std::rethrow_exception(error);
}

}  // namespace

Parameters load_weights(const WeightsFile& file, const Graph& graph, MemoryResource& resource) {
  ELEK_CHECK(is_host(resource.device()),
             "parameters are loaded to the host, the resource is of " + to_string(resource.device()));
  std::map<std::string, const WeightsFile::Entry*> given = detail::entries_by_name(file);
  Parameters parameters;
  std::vector<Filling> fillings;
  for (const ParameterSpec& spec : required_parameters(graph)) {
    const auto found = given.find(spec.name);
    if (found == given.end()) {
      throw InputError(file.where() + ": tensor " + in_quotes(spec.name) + " " + to_string(spec.shape) +
                       " is missing; is this the file of another architecture?");
    }
    const WeightsFile::Entry& entry = *found->second;
    const std::span<const int64_t> dims = spec.shape.dims();
    if (!std::equal(dims.begin(), dims.end(), entry.shape.begin(), entry.shape.end())) {
      throw InputError(file.where() + ": tensor " + in_quotes(entry.name) + ": expected shape " + to_string(spec.shape) +
                       ", found " + shape_text(entry.shape) + "; is this the file of another architecture?");
    }
    if (!entry.is_floating()) {
      throw InputError(file.where() + ": tensor " + in_quotes(entry.name) + ": expected F32, F16, BF16 or F64, found " +
                       entry.dtype);
    }
    auto tensor = std::make_shared<Tensor>(spec.shape, DType::kF32, resource, BlockLabel(spec.name, Use::kModel));
    fillings.push_back({&entry, tensor.get()});
    parameters.emplace(spec.name, std::move(tensor));
    given.erase(found);
  }
  if (!given.empty()) {
    throw InputError(file.where() + ": tensor " + in_quotes(given.begin()->second->name) + " " +
                     shape_text(given.begin()->second->shape) + " has no place in the network (" +
                     std::to_string(given.size()) + " such); is this the file of another architecture?");
  }
  fill(file, fillings);
  return parameters;
}

Model load_model(const std::string& path, MemoryResource& resource) {
  const MappedFile file = MappedFile::open(path);
  switch (const FileKind kind = kind_of(file.bytes())) {
    case FileKind::kZip:
    case FileKind::kPickle:
    case FileKind::kTar:
    case FileKind::kOnnx:
      throw Hinted<InputError>(Hint::kImportWeights, path + ": expected a model file of elek, found " + description_of(kind));
    default:
      return load_model(SafetensorsFile::parse(file), resource);
  }
}

Model load_model(const SafetensorsFile& file, MemoryResource& resource) {
  const auto json = file.metadata().find(kKey);
  if (json == file.metadata().end()) {
    throw Hinted<InputError>(Hint::kImportWeights,
                             file.where() + ": expected a model file of elek, found plain " +
                                 (file.metadata().contains("elek.statistics") ? "statistics" : "weights") +
                                 " (no \"elek\" in its metadata)");
  }
  Model model = model_from_json(json->second, file.where());
  model.parameters = load_weights(WeightsFile(file), model.graph, resource);
  validate(model, file.where());
  return model;
}

void save_model(const Model& model, const std::string& path) {
  validate(model, path);
  const std::string json = model_to_json(model);
  static_cast<void>(model_from_json(json, path));  // do not write a model that load_model would refuse
  std::vector<SafetensorsEntry> entries;
  entries.reserve(model.parameters.size());
  for (const auto& [name, tensor] : model.parameters) {
    const std::span<const int64_t> dims = tensor->shape().dims();
    entries.push_back(
        {name, tensor->dtype(), {dims.begin(), dims.end()}, {static_cast<const std::byte*>(tensor->data()), tensor->bytes()}});
  }
  // "format": Python's loaders check it before they trust the names.
  write_safetensors(path, entries, {{kKey, json}, {"format", "pt"}});
}

}  // namespace elek
