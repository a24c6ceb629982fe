#include "weights/device_memory.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string>
#include <utility>

#include "shoehorn/error.h"

#include "base/str_cat.h"
#include "plan/size_string.h"

namespace shoehorn {

DeviceBuffer::DeviceBuffer(HostBuffer buffer, DeviceMemory& memory, Device device)
    : buffer_(std::move(buffer)), memory_(&memory), device_(device) {}

DeviceBuffer::~DeviceBuffer() {
  if (memory_ != nullptr) memory_->give_back(device_, buffer_.size());
}

DeviceBuffer::DeviceBuffer(DeviceBuffer&& other) noexcept {
  *this = std::move(other);
}

DeviceBuffer& DeviceBuffer::operator=(DeviceBuffer&& other) noexcept {
  std::swap(buffer_, other.buffer_);
  std::swap(memory_, other.memory_);
  std::swap(device_, other.device_);
  return *this;
}

std::vector<Accelerator> parse_virtual_devices(std::string_view text) {
  const auto fail = [&](const std::string& why) -> ArgumentError {
    return ArgumentError(
        str_cat("SHOEHORN_VIRTUAL_DEVICES=", text, ": ", why,
                "; write COUNTxSIZE such as 2x64MiB, or sizes such as 64MiB,1GiB"));
  };
  std::vector<Accelerator> result;
  const auto add = [&](std::size_t bytes) {
    result.push_back({{DeviceKind::kVirtual, static_cast<int>(result.size())}, bytes});
  };
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
    for (int i = 0; i < count; ++i) add(bytes);
    if (result.size() > 64) throw fail("more than 64 devices");
  }
  return result;
}

std::vector<Accelerator> find_accelerators() {
  const char* text = std::getenv("SHOEHORN_VIRTUAL_DEVICES");
  return text == nullptr ? std::vector<Accelerator>{} : parse_virtual_devices(text);
}

std::size_t DeviceMemory::slot(Device device) const {
  if (device.kind == DeviceKind::kCpu) return accelerators_.size();
  for (std::size_t i = 0; i < accelerators_.size(); ++i) {
    if (accelerators_[i].device == device) return i;
  }
  throw DeviceError(str_cat(to_string(device), " is not there; this machine has ",
                            accelerators_.size(), " accelerators"));
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

DeviceBuffer DeviceMemory::allocate(Device device, std::size_t bytes, std::string_view what) {
  {
    const std::lock_guard lock(mutex_);
    const std::size_t i = slot(device);
    const std::size_t limit = i == accelerators_.size() ? cpu_limit_ : accelerators_[i].limit_bytes;
    const bool limited = i < accelerators_.size() || cpu_limit_ != 0;
    if (limited && (bytes > limit || used_[i] > limit - bytes)) {
      throw DeviceError(str_cat(to_string(device), ": ", bytes, " bytes for ", what,
                                " do not fit beside the ", used_[i], " in use; its limit is ",
                                limit, " bytes"));
    }
    used_[i] += bytes;
    peak_[i] = std::max(peak_[i], used_[i]);
  }
  try {
    return {HostBuffer(bytes), *this, device};
  } catch (...) {
    give_back(device, bytes);
    throw;
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
