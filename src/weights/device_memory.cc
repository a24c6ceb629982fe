#include "weights/device_memory.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "cuda/card.h"
#include "plan/size_string.h"

namespace shoehorn {

DeviceBuffer::DeviceBuffer(HostBuffer buffer, DeviceMemory& memory, Device device)
    : host_(std::move(buffer)), bytes_(host_.bytes()), memory_(&memory), device_(device) {}

DeviceBuffer::DeviceBuffer(cuda::CardMemory buffer, DeviceMemory& memory, Device device)
    : card_(std::move(buffer)),
      bytes_(card_.data(), card_.size()),
      memory_(&memory),
      device_(device) {}

DeviceBuffer::~DeviceBuffer() {
  if (memory_ != nullptr) memory_->give_back(device_, bytes_.size());
}

DeviceBuffer::DeviceBuffer(DeviceBuffer&& other) noexcept {
  *this = std::move(other);
}

DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&& other) noexcept {
  std::swap(host_, other.host_);
  std::swap(card_, other.card_);
  std::swap(bytes_, other.bytes_);
  std::swap(memory_, other.memory_);
  std::swap(device_, other.device_);
  return *this;
}

namespace {

/// "2x64MiB" and "64MiB,1GiB": the size of each device. `variable` is for messages.
std::vector<std::size_t> parse_device_sizes(std::string_view variable, std::string_view text) {
  const auto fail = [variable, text](const std::string& why) -> ArgumentError {
    return ArgumentError(
        str_cat(variable, "=", text, ": ", why,
                "; write COUNTxSIZE such as 2x64MiB, or sizes such as 64MiB,1GiB"));
  };
  std::vector<std::size_t> result;
  while (!text.empty()) {
    const std::size_t comma = text.find(',');
    std::string_view item = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view{} : text.substr(comma + 1);
    int count = 1;
    if (const std::size_t times = item.find('x'); times != std::string_view::npos) {
      const auto [end, error] = std::from_chars(item.data(), item.data() + times, count);
      if (error != std::errc() || end != item.data() + times || count < 1 || count > 64) {
        throw fail("the count must be between 1 and 64");
      }
      item.remove_prefix(times + 1);
    }
    const std::size_t bytes = parse_size(item);
    result.insert(result.end(), static_cast<std::size_t>(count), bytes);
    if (result.size() > 64) throw fail("more than 64 devices");
  }
  return result;
}

std::vector<Accelerator> find_cuda_devices() {
  const cuda::Cards& found = cuda::find_cards();
  std::vector<Accelerator> result;
  const auto add = [&](std::size_t bytes, int card) {
    result.push_back({{DeviceKind::kCuda, static_cast<int>(result.size())}, bytes, card});
  };
  if (const char* text = std::getenv("SHOEHORN_LOGICAL_GPUS"); text != nullptr && *text != '\0') {
    if (found.cards.empty()) {
      throw DeviceError(
          str_cat("SHOEHORN_LOGICAL_GPUS=", text, ": there is no card to split: ", found.why_none));
    }
    for (const std::size_t bytes : parse_device_sizes("SHOEHORN_LOGICAL_GPUS", text)) {
      add(bytes, found.cards.front().ordinal);
    }
    return result;
  }
  for (const cuda::Card& card : found.cards) add(card.memory_bytes, card.ordinal);
  return result;
}

}  // namespace

std::vector<Accelerator> parse_virtual_devices(std::string_view text) {
  std::vector<Accelerator> result;
  for (const std::size_t bytes : parse_device_sizes("SHOEHORN_VIRTUAL_DEVICES", text)) {
    result.push_back({{DeviceKind::kVirtual, static_cast<int>(result.size())}, bytes});
  }
  return result;
}

std::vector<Accelerator> find_accelerators() {
  std::vector<Accelerator> result = find_cuda_devices();
  if (const char* text = std::getenv("SHOEHORN_VIRTUAL_DEVICES"); text != nullptr) {
    const auto virtual_devices = parse_virtual_devices(text);
    result.insert(result.end(), virtual_devices.begin(), virtual_devices.end());
  }
  return result;
}

std::size_t DeviceMemory::slot(Device device) const {
  if (device.kind == DeviceKind::kCpu) return accelerators_.size();
  for (std::size_t i = 0; i < accelerators_.size(); ++i) {
    if (accelerators_[i].device == device) return i;
  }
  throw DeviceError(str_cat(to_string(device), " is not there; this machine has ",
                            accelerators_.size(), " accelerators"));
}

int DeviceMemory::card_of(Device device) const {
  return device.kind == DeviceKind::kCuda ? accelerators_[slot(device)].card : -1;
}

void DeviceMemory::set_limit(Device device, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  const std::size_t i = slot(device);
  if (i == accelerators_.size()) {
    cpu_limit_ = bytes;  // 0 would mean none; a plan never leaves none
  } else {
    accelerators_[i].limit_bytes = std::min(accelerators_[i].limit_bytes, bytes);
  }
}

void DeviceMemory::take(Device device, std::size_t bytes, std::string_view what) {
  const std::lock_guard lock(mutex_);
  const std::size_t i = slot(device);
  const std::size_t limit = i == accelerators_.size() ? cpu_limit_ : accelerators_[i].limit_bytes;
  const bool limited = i < accelerators_.size() || cpu_limit_ != 0;
  if (limited && (bytes > limit || used_[i] > limit - bytes)) {
    throw DeviceError(str_cat(to_string(device), ": ", bytes, " bytes for ", what,
                              " do not fit beside the ", used_[i], " in use; its limit is ", limit,
                              " bytes"));
  }
  used_[i] += bytes;
  peak_[i] = std::max(peak_[i], used_[i]);
}

DeviceCharge DeviceMemory::charge(Device device, std::size_t bytes, std::string_view what) {
  take(device, bytes, what);
  return {*this, device, bytes};
}

DeviceCharge::~DeviceCharge() {
  if (memory_ != nullptr) memory_->give_back(device_, bytes_);
}

DeviceBuffer DeviceMemory::allocate(Device device, std::size_t bytes, std::string_view what) {
  take(device, bytes, what);
  try {
    if (const int card = card_of(device); card >= 0) {
      return {allocate_on_card(device, card, bytes, what), *this, device};
    }
    return {HostBuffer(bytes), *this, device};
  } catch (...) {
    give_back(device, bytes);
    throw;
  }
}

// What the driver refuses was within the limit that the plan counted on: somebody else uses the
// card.
cuda::CardMemory DeviceMemory::allocate_on_card(Device device, int card, std::size_t bytes,
                                                std::string_view what) const {
  try {
    return {card, bytes};
  } catch (const DeviceError& error) {
    const std::lock_guard lock(mutex_);
    const std::size_t i = slot(device);
    throw DeviceError(
        str_cat(to_string(device), ": ", what, ": ", error.what(), "; the plan expected ",
                accelerators_[i].limit_bytes, " bytes for shoehorn, ", used_[i],
                " of them with these; a lower --max-memory ", i, "=... leaves room for others"));
  }
}

void DeviceMemory::give_back(Device device, std::size_t bytes) {
  const std::lock_guard lock(mutex_);
  used_[slot(device)] -= bytes;
}

std::size_t DeviceMemory::used_bytes(Device device) const {
  const std::lock_guard lock(mutex_);
  return used_[slot(device)];
}

std::size_t DeviceMemory::peak_bytes(Device device) const {
  const std::lock_guard lock(mutex_);
  return peak_[slot(device)];
}

}  // namespace shoehorn
