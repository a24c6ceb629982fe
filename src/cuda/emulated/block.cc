#include "cuda/emulated/block.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include <boost/context/fiber.hpp>

namespace shoehorn::cuda::emulated {

namespace {

namespace context = boost::context;

constexpr std::size_t kMostThreads = 1024;
constexpr std::size_t kStackBytes = std::size_t{64} << 10;

// Each begins some cache lines further into its page than the one before: stacks that all begin at
// the same place in a page share few lines of the nearest cache.
constexpr std::size_t kStackStride = kStackBytes + 5 * 64;

// For a fiber whose stack is somebody else's.
struct BorrowedStack {
  context::stack_context stack;

  context::stack_context allocate() const { return stack; }
  void deallocate(context::stack_context& /*stack*/) const {}
};

enum class State { kRuns, kWaitsForWarp, kWaitsForBlock, kEnded };

}  // namespace

class Warp {
 public:
  unsigned lanes = 0;
  unsigned ended = 0;
  unsigned arrived = 0;
  // A lane may be one step ahead of the slowest, not two.
  std::array<Step, 2> steps{};
};

namespace {

// The block that a host thread runs.
class Block {
 public:
  void run(const Launch& launch, const std::function<void()>& kernel) {
    running.launch = &launch;
    running.shared = shared();
    kernel_ = &kernel;
    const std::size_t count = std::size_t{launch.block.x} * launch.block.y * launch.block.z;
    prepare(count, launch.block);
    is_backward_ = false;
    for (unsigned z = 0; z < launch.grid.z; ++z) {
      for (unsigned y = 0; y < launch.grid.y; ++y) {
        for (unsigned x = 0; x < launch.grid.x; ++x) {
          running.block = {x, y, z};
          run_one(count);
          is_backward_ = !is_backward_;
        }
      }
    }
  }

  bool wait_for_block(bool value) {
    any_ |= value;
    ++arrived_;
    pause(State::kWaitsForBlock);
    return result_;
  }

  const Step& finish_step() {
    Thread& self = *running.thread;
    Warp& warp = *self.warp;
    Step& step = warp.steps[self.steps++ % 2];
    if (warp.arrived++ == 0) step.lanes = 0;
    step.lanes |= 1U << self.lane;
    if (warp.arrived + warp.ended == warp.lanes) {
      release(warp);
    } else {
      pause(State::kWaitsForWarp);
    }
    return step;
  }

 private:
  struct Fiber {
    Thread thread;
    State state = State::kEnded;
    context::fiber itself;  // where it goes on
  };

  std::byte* shared() {
    return reinterpret_cast<std::byte*>((reinterpret_cast<std::uintptr_t>(shared_.get()) + 1023) /
                                        1024 * 1024);
  }

  void prepare(std::size_t count, const dim3& size) {
    while (fibers_.size() < count) {
      BorrowedStack stack;
      stack.stack.size = kStackBytes;
      stack.stack.sp = stacks_.get() + fibers_.size() * kStackStride + kStackBytes;
      fibers_.push_back(std::make_unique<Fiber>());
      fibers_.back()->itself =
          context::fiber(std::allocator_arg, stack, [this](context::fiber&& previous) {
            previous_->itself = std::move(previous);
            for (;;) {
              (*kernel_)();
              end_group_of_copies();
              wait_for_groups(0);
              end();
            }
            return std::move(host_.itself);
          });
    }
    warps_.assign((count + kLanes - 1) / kLanes, {});
    for (std::size_t i = 0; i < count; ++i) {
      Thread& thread = fibers_[i]->thread;
      const auto n = static_cast<unsigned>(i);
      thread.index = {n % size.x, n / size.x % size.y, n / size.x / size.y};
      thread.lane = n % kLanes;
      thread.warp = &warps_[i / kLanes];
    }
  }

  void run_one(std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) {
      fibers_[i]->state = State::kRuns;
      fibers_[i]->thread.steps = 0;
    }
    for (std::size_t w = 0; w < warps_.size(); ++w) {
      Warp& warp = warps_[w];
      warp.lanes = static_cast<unsigned>(std::min<std::size_t>(kLanes, count - w * kLanes));
      warp.ended = warp.arrived = 0;
    }
    ended_ = arrived_ = 0;
    any_ = false;
    while (ended_ < count) {
      for (std::size_t w = 0; w < warps_.size(); ++w) {
        run_warp(warps_[is_backward_ ? warps_.size() - 1 - w : w]);
      }
      if (ended_ == count) break;
      // All that goes on waits for the block.
      if (arrived_ + ended_ != count) give_up(count);
      result_ = any_;
      any_ = false;
      arrived_ = 0;
      for (std::size_t i = 0; i < count; ++i) {
        if (fibers_[i]->state == State::kWaitsForBlock) fibers_[i]->state = State::kRuns;
      }
    }
  }

  // The next lane of a warp that can go on, the given one last; null: none.
  Fiber* next_of(const Warp& warp, unsigned lane) {
    const std::unique_ptr<Fiber>* const fibers = fibers_.data() + (&warp - warps_.data()) * kLanes;
    for (unsigned i = 0; i < warp.lanes; ++i) {
      if (is_backward_) {
        lane = lane == 0 ? warp.lanes - 1 : lane - 1;
      } else {
        lane = lane + 1 == warp.lanes ? 0 : lane + 1;
      }
      if (fibers[lane]->state == State::kRuns) return fibers[lane].get();
    }
    return nullptr;
  }

  // Until no lane of the warp can go on.
  void run_warp(const Warp& warp) {
    while (Fiber* const next = next_of(warp, is_backward_ ? 0 : warp.lanes - 1)) go_to(*next);
  }

  void release(Warp& warp) {
    warp.arrived = 0;
    const std::size_t first = static_cast<std::size_t>(&warp - warps_.data()) * kLanes;
    for (unsigned lane = 0; lane < warp.lanes; ++lane) {
      Fiber& fiber = *fibers_[first + lane];
      if (fiber.state == State::kWaitsForWarp) fiber.state = State::kRuns;
    }
  }

  void pause(State state) {
    running_->state = state;
    Fiber* const next = next_of(*running_->thread.warp, running_->thread.lane);
    go_to(next != nullptr ? *next : host_);
  }

  void end() {
    Warp& warp = *running_->thread.warp;
    ++ended_;
    ++warp.ended;
    if (warp.arrived > 0 && warp.arrived + warp.ended == warp.lanes) release(warp);
    pause(State::kEnded);
  }

  void go_to(Fiber& fiber) {
    previous_ = running_;
    running_ = &fiber;
    running.thread = &fiber.thread;
    context::fiber previous = std::move(fiber.itself).resume();
    // Here again, from whichever went to this one.
    previous_->itself = std::move(previous);
  }

  [[noreturn]] void give_up(std::size_t count) const {
    std::size_t waiting = 0;
    for (std::size_t i = 0; i < count; ++i) {
      if (fibers_[i]->state == State::kWaitsForWarp) ++waiting;
    }
    std::fprintf(stderr,
                 "emulated card: kernel %.*s, block (%u, %u, %u): %zu threads wait for their warp, "
                 "%zu for the block, %zu have ended\n",
                 static_cast<int>(running.launch->name.size()), running.launch->name.data(),
                 running.block.x, running.block.y, running.block.z, waiting, arrived_, ended_);
    std::abort();
  }

  const std::function<void()>* kernel_ = nullptr;
  std::unique_ptr<std::byte[]> stacks_ =
      std::make_unique_for_overwrite<std::byte[]>(kMostThreads * kStackStride);
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Warp> warps_;
  Fiber host_;  // what called run()
  Fiber* running_ = &host_;
  Fiber* previous_ = nullptr;
  std::size_t ended_ = 0;
  std::size_t arrived_ = 0;  // at __syncthreads()
  bool is_backward_ = false;
  bool any_ = false;
  bool result_ = false;
  std::unique_ptr<std::byte[]> shared_ = std::make_unique<std::byte[]>(kMostSharedBytes + 1024);
};

Block& block() {
  thread_local Block its;
  return its;
}

// block() of the launch that runs.
constinit thread_local Block* running_block = nullptr;

void finish(const std::vector<PendingCopy>& copies) {
  for (const PendingCopy& copy : copies) {
    if (copy.from != nullptr) {
      std::memcpy(copy.to, copy.from, 16);
    } else {
      std::memset(copy.to, 0, 16);
    }
  }
}

}  // namespace

constinit thread_local Running running;

void run_blocks(const Launch& launch, const std::function<void()>& kernel) {
  running_block = &block();
  running_block->run(launch, kernel);
}

bool wait_for_block(bool value) {
  return running_block->wait_for_block(value);
}

Handed& begin_step() {
  Thread& self = *running.thread;
  return self.warp->steps[self.steps % 2].by_lane[self.lane];
}
const Step& finish_step() {
  return running_block->finish_step();
}

void start_copy(void* to, const void* from) {
  running.thread->copies.push_back({to, from});
}

void end_group_of_copies() {
  Thread& thread = *running.thread;
  thread.groups.push_back(std::move(thread.copies));
  thread.copies.clear();
}

void wait_for_groups(std::size_t most_pending) {
  Thread& thread = *running.thread;
  for (; thread.groups.size() > most_pending; thread.groups.pop_front()) {
    finish(thread.groups.front());
  }
}

}  // namespace shoehorn::cuda::emulated
