#ifndef HF_SANDBOX_AGENT_HTTP_STREAM_HPP
#define HF_SANDBOX_AGENT_HTTP_STREAM_HPP

#include "detail/unique_fd.hpp"
#include "http/deadlines.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <sys/uio.h>

#include <cstddef>
#include <span>

namespace hf::agent {

/// A connected non-blocking socket on the event loop. It is always tried first and waited for only
/// when the kernel says so; no buffer is held while it waits.
///
/// Everything throws `boost::system::system_error`; `asio::error::timed_out` for a deadline.
class stream {
 public:
  using clock = deadlines::clock;
  static constexpr clock::time_point never = deadlines::never;

  stream(boost::asio::io_context& loop, deadlines& timers, unique_fd socket);

  [[nodiscard]] int fd() { return socket_.native_handle(); }
  [[nodiscard]] bool is_open() const { return socket_.is_open(); }
  void close();
  /// Gives the descriptor away; whatever waited is cancelled.
  [[nodiscard]] int release() { return socket_.release(); }
  /// Cancels what waits on the descriptor itself; reads and writes go on.
  void cancel();
  /// Ends all reads and writes, now and later, with `operation_aborted`.
  void stop();
  [[nodiscard]] boost::asio::posix::stream_descriptor& descriptor() { return socket_; }

  boost::asio::awaitable<void> wait_readable(clock::time_point deadline);
  boost::asio::awaitable<void> wait_writable(clock::time_point deadline);
  /// Reads some bytes; 0 at the peer's end.
  boost::asio::awaitable<std::size_t> read_some(void* data, std::size_t size,
                                                clock::time_point deadline);
  /// Writes all parts with as few calls as possible; `stall` bounds the time without progress
  /// (zero: unbounded). The parts are used up.
  boost::asio::awaitable<void> write(std::span<iovec> parts, clock::duration stall);

 private:
  // One direction's deadline.
  struct half final : deadlines::entry {
    half(deadlines& timers, stream& whole) : entry(timers), owner(whole) {}
    void expire() override {
      expired = true;
      owner.cancel();
    }
    stream& owner;
    bool expired = false;
  };

  boost::asio::awaitable<void> wait(half& direction,
                                    boost::asio::posix::descriptor_base::wait_type what,
                                    clock::time_point deadline);

  boost::asio::posix::stream_descriptor socket_;
  half reading_;
  half writing_;
  bool stopped_ = false;
};

}  // namespace hf::agent

#endif
