// Reads through io_uring: the kernel keeps several in flight, one thread starts and collects them.

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <memory>

#include <liburing.h>

#include "shoehorn/error.h"

#include "base/async_reader.h"
#include "base/str_cat.h"

namespace shoehorn {
namespace {

class UringReader : public AsyncReader {
 public:
  explicit UringReader(const io_uring& ring) : ring_(ring) {}
  ~UringReader() override { ::io_uring_queue_exit(&ring_); }
  UringReader(const UringReader&) = delete;
  UringReader& operator=(const UringReader&) = delete;

  void start(const ReadRequest& request) override {
    io_uring_sqe* const sqe = ::io_uring_get_sqe(&ring_);
    if (sqe == nullptr) throw Error("io_uring: more reads in flight than it was made for");
    ::io_uring_prep_read(sqe, request.fd, request.out.data(),
                         static_cast<unsigned>(request.out.size()), request.offset);
    sqe->user_data = request.tag;
    for (;;) {
      const int submitted = ::io_uring_submit(&ring_);
      if (submitted >= 0) return;
      if (submitted != -EINTR && submitted != -EAGAIN && submitted != -EBUSY) {
        throw Error(str_cat("io_uring_submit: ", std::strerror(-submitted)));
      }
    }
  }

  ReadResult wait() override {
    io_uring_cqe* cqe = nullptr;
    for (;;) {
      const int status = ::io_uring_wait_cqe(&ring_, &cqe);
      if (status == 0) break;
      if (status != -EINTR && status != -EAGAIN) {
        throw Error(str_cat("io_uring_wait_cqe: ", std::strerror(-status)));
      }
    }
    const ReadResult result{static_cast<std::size_t>(cqe->user_data), cqe->res};
    ::io_uring_cqe_seen(&ring_, cqe);
    return result;
  }

 private:
  io_uring ring_;
};

}  // namespace

std::unique_ptr<AsyncReader> make_uring_reader(int reads_in_flight) {
  io_uring ring{};
  // Refused by seccomp (containers) and by kernel.io_uring_disabled.
  if (::io_uring_queue_init(static_cast<unsigned>(reads_in_flight), &ring, 0) != 0) return nullptr;
  io_uring_probe* const probe = ::io_uring_get_probe_ring(&ring);
  const bool can_read = probe != nullptr && ::io_uring_opcode_supported(probe, IORING_OP_READ) != 0;
  ::io_uring_free_probe(probe);
  if (!can_read) {  // a kernel before 5.6
    ::io_uring_queue_exit(&ring);
    return nullptr;
  }
  return std::make_unique<UringReader>(ring);
}

}  // namespace shoehorn
