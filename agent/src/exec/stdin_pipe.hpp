#ifndef HF_SANDBOX_AGENT_EXEC_STDIN_PIPE_HPP
#define HF_SANDBOX_AGENT_EXEC_STDIN_PIPE_HPP

#include "detail/unique_fd.hpp"
#include "http/exchange.hpp"

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace hf::agent {

/// The writing end of a command's standard input. A command that does not read delays nobody else;
/// one that has closed it swallows the rest. On the event loop's thread.
class stdin_pipe : public std::enable_shared_from_this<stdin_pipe> {
 public:
  stdin_pipe(boost::asio::io_context& loop, unique_fd end);

  /// Writes all of it by and by, then closes.
  void send_all(std::string bytes);

  /// Takes a request's body as the input from `offset` on: what was accepted before is passed over,
  /// a later request takes over from an earlier one. Answers `{"accepted","eof"}`.
  boost::asio::awaitable<void> feed(exchange& ex, std::uint64_t offset, bool eof);

  void close();

 private:
  // Takes some bytes without waiting; 0: the pipe is full.
  std::size_t write_some(std::string_view bytes);
  boost::asio::awaitable<void> wait_writable();
  boost::asio::awaitable<void> write_rest(std::string bytes, std::size_t done);

  boost::asio::posix::stream_descriptor end_;
  std::uint64_t accepted_ = 0;
  /// Counts the requests: the newest one has the word.
  std::uint64_t turn_ = 0;
  bool ended_ = false;
};

}  // namespace hf::agent

#endif
