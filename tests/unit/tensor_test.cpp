// SPDX-License-Identifier: Apache-2.0
// Buffer and Tensor: one owner; the memory is given back once, with the size it was allocated with; a failure leaves nothing
// behind.
#include <gtest/gtest.h>

#include <algorithm>
#include <type_traits>
#include <utility>

#include "elek/memory.h"
#include "tests/support/faulty.h"

namespace elek {
namespace {

using test::Faulty;

static_assert(!std::is_copy_constructible_v<Buffer> && !std::is_copy_assignable_v<Buffer>);
static_assert(!std::is_copy_constructible_v<Tensor> && !std::is_copy_assignable_v<Tensor>);
static_assert(std::is_nothrow_move_constructible_v<Tensor> && std::is_nothrow_move_assignable_v<Tensor>);

TEST(Buffer, GivesItsBytesBackOnce) {
  Faulty memory;
  {
    const Buffer buffer(100, memory, "a");
    EXPECT_EQ(memory.in_use_bytes(), 100U);
    EXPECT_EQ(buffer.bytes(), 100U);
    EXPECT_EQ(buffer.resource(), &memory);
    EXPECT_NE(buffer.data(), nullptr);
  }
  EXPECT_EQ(memory.in_use_bytes(), 0U);
  EXPECT_TRUE(memory.misuse().empty());
}

TEST(Buffer, MovesLeaveTheSourceEmpty) {
  Faulty memory;
  {
    Buffer a(100, memory, "a");
    void* data = a.data();
    Buffer b(std::move(a));
    EXPECT_EQ(b.data(), data);
    EXPECT_EQ(a.data(), nullptr);  // NOLINT(bugprone-use-after-move): the state after a move is promised
    EXPECT_EQ(a.bytes(), 0U);
    Buffer c(30, memory, "c");
    c = std::move(b);
    EXPECT_EQ(c.data(), data);
    EXPECT_EQ(memory.in_use_bytes(), 100U) << "the 30 bytes went back";
    Buffer& same = c;
    c = std::move(same);
    EXPECT_EQ(c.data(), data) << "self-move keeps the bytes";
  }
  EXPECT_EQ(memory.in_use_bytes(), 0U);
  EXPECT_TRUE(memory.misuse().empty());
}

TEST(Buffer, OfZeroBytesHoldsNothing) {
  Faulty memory;
  const Buffer buffer(0, memory, "nothing");
  EXPECT_EQ(buffer.data(), nullptr);
  EXPECT_EQ(memory.allocations(), 0);
}

TEST(Buffer, AFailedAllocationLeavesNothing) {
  Faulty memory;
  memory.fail_at(0);
  EXPECT_THROW(Buffer(100, memory, "a"), OutOfMemory);
  EXPECT_EQ(memory.in_use_bytes(), 0U);
}

TEST(Tensor, KnowsShapeTypeAndBytes) {
  Faulty memory;
  Tensor tensor(Shape{2, 3}, DType::kF32, memory, "w");
  EXPECT_EQ(tensor.bytes(), 24U);
  EXPECT_EQ(tensor.shape(), (Shape{2, 3}));
  EXPECT_EQ(tensor.dtype(), DType::kF32);
  EXPECT_EQ(tensor.f32().size(), 6U);
  EXPECT_EQ(std::as_const(tensor).f32().data(), tensor.data());
  const TensorView view = tensor.view();
  EXPECT_EQ(view.data, tensor.data());
  EXPECT_EQ(view.bytes(), 24U);
  EXPECT_EQ(view.device, Device{});
}

TEST(Tensor, OnlyF32ReadsAsFloats) {
  Tensor tensor(Shape{2}, DType::kF64, host_resource(), "d");
  EXPECT_THROW((void)tensor.f32(), ContractError);
}

TEST(Tensor, DefaultIsEmpty) {
  const Tensor tensor;
  EXPECT_EQ(tensor.bytes(), 0U);
  EXPECT_TRUE(tensor.f32().empty());
  EXPECT_EQ(tensor.clone(host_resource(), "copy").bytes(), 0U);
}

TEST(Tensor, CloneIsACopyOfItsOwn) {
  Faulty memory;
  Tensor tensor(Shape{3}, DType::kF32, memory, "a");
  std::fill(tensor.f32().begin(), tensor.f32().end(), 2.0F);
  Tensor copy = tensor.clone(memory, "b");
  EXPECT_NE(copy.data(), tensor.data());
  EXPECT_EQ(copy.shape(), tensor.shape());
  copy.f32()[1] = 5.0F;
  EXPECT_EQ(tensor.f32()[1], 2.0F);
  EXPECT_EQ(copy.f32()[0], 2.0F);
  memory.fail_at(0);
  EXPECT_THROW((void)tensor.clone(memory, "c"), OutOfMemory);
  EXPECT_EQ(memory.in_use_bytes(), 24U);
}

TEST(Tensor, MovedFromKeepsNoBytes) {
  Faulty memory;
  Tensor a(Shape{4}, DType::kF32, memory, "a");
  const Tensor b(std::move(a));
  EXPECT_EQ(a.bytes(), 0U);  // NOLINT(bugprone-use-after-move): the state after a move is promised
  EXPECT_TRUE(a.f32().empty());
  EXPECT_EQ(b.bytes(), 16U);
}

/// A resource of another device, which the host must not read.
class Elsewhere final : public MemoryResource {
 public:
  [[nodiscard]] Device device() const noexcept override { return {DeviceKind::kCuda, 0}; }

 private:
  void* do_allocate(size_t bytes, const BlockLabel& label, Stream stream) override {
    return host_resource().allocate(bytes, label, stream);
  }
  void do_deallocate(void* block, size_t bytes, Stream stream) noexcept override {
    host_resource().deallocate(block, bytes, stream);
  }
};

TEST(Tensor, DeviceMemoryIsNotReadByTheHost) {
  Elsewhere elsewhere;
  Tensor tensor(Shape{4}, DType::kF32, elsewhere, "a");
  EXPECT_THROW((void)tensor.f32(), ContractError);
  EXPECT_THROW((void)tensor.clone(host_resource(), "b"), ContractError);
  EXPECT_EQ(tensor.view().device, (Device{DeviceKind::kCuda, 0}));
}

}  // namespace
}  // namespace elek
