#ifndef HF_SANDBOX_AGENT_HTTP_SESSION_HPP
#define HF_SANDBOX_AGENT_HTTP_SESSION_HPP

#include "http/exchange.hpp"
#include "http/head.hpp"
#include "http/message_parser.hpp"
#include "http/stream.hpp"

#include <memory>
#include <optional>
#include <string>

namespace hf::agent {

class server;

/// One connection: reads request after request, authorises, routes, and answers. Between requests
/// it holds no buffer.
class session final : public exchange, public std::enable_shared_from_this<session> {
 public:
  session(server& owner, unique_fd socket);
  ~session() override;

  /// Serves the connection until its end; never throws.
  asio::awaitable<void> run();

  request_head const& head() const override { return head_; }
  asio::any_io_executor executor() override;
  std::optional<std::uint64_t> content_length() const override;
  asio::awaitable<std::size_t> read_some(asio::mutable_buffer buffer) override;
  asio::awaitable<std::string> read_all(std::uint64_t limit) override;
  asio::awaitable<std::uint64_t> receive_into_file(int fd, std::uint64_t offset) override;
  asio::awaitable<void> respond(int status, json const& value) override;
  asio::awaitable<void> begin(int status, std::string_view content_type,
                              std::optional<std::uint64_t> content_length,
                              std::vector<std::pair<std::string, std::string>> extra) override;
  asio::awaitable<void> begin_raw(raw_answer answer) override;
  asio::awaitable<void> write(std::string_view bytes) override;
  asio::awaitable<void> send_file(unique_fd file, std::uint64_t offset,
                                  std::uint64_t length) override;
  asio::awaitable<void> finish() override;
  bool begun() const override { return begun_; }
  void on_caller_gone(std::function<void()> callback) override;
  int take_over(std::string& already_read) override;

 private:
  // session.cpp: the life of a connection.
  asio::awaitable<bool> serve_one();
  asio::awaitable<bool> read_head();
  asio::awaitable<void> dispatch();
  asio::awaitable<void> call(handler const& handle);
  asio::awaitable<void> answer_health();
  asio::awaitable<void> answer_error(http_error error);
  asio::awaitable<void> refuse(http_error error);
  asio::awaitable<void> close_politely();
  bool authorise();
  void reset_request();
  void log_refusal(http_error const& error);

  // session_input.cpp: bytes from the caller.
  asio::awaitable<std::size_t> fill(stream::clock::time_point deadline);
  std::string_view buffered() const { return std::string_view(input_).substr(used_); }
  void consume(std::size_t n);
  bool body_complete() const;
  asio::awaitable<void> send_continue();
  asio::awaitable<bool> drop_body();
  asio::awaitable<std::size_t> read_chunked(asio::mutable_buffer buffer);
  void watch();
  void watched(boost::system::error_code failed, unsigned generation);
  void stop_watching();

  // session_output.cpp: bytes to the caller.
  void start_answer();
  void append_head_end(std::string& text);
  void flush_head_soon();
  void flush_head_now();
  asio::awaitable<void> send_parts(std::span<iovec> parts);
  asio::awaitable<void> send_whole(int fd, std::uint64_t offset, std::uint64_t length);

  enum class output { none, length, chunked, until_close, finished };

  server& owner_;
  stream stream_;
  // What has been received and not been used begins at used_.
  std::string input_;
  std::size_t used_ = 0;
  stream::clock::time_point opened_;
  bool first_ = true;
  bool taken_over_ = false;

  // The request.
  request_head head_;
  std::optional<request_parser> parser_;
  body_framing framing_;
  std::uint64_t body_left_ = 0;
  bool continue_wanted_ = false;
  bool authorised_ = false;

  // Its answer.
  bool begun_ = false;
  bool keep_alive_ = false;
  bool bodiless_ = false;
  output output_ = output::none;
  std::uint64_t output_left_ = 0;
  // Waits for the first bytes of the body, so that both leave in one packet.
  std::string pending_head_;

  std::function<void()> gone_;
  bool watching_ = false;
  bool ended_ = false;
  unsigned watch_generation_ = 0;
};

}  // namespace hf::agent

#endif
