#ifndef HF_SANDBOX_AGENT_INPUT_PUMP_HPP
#define HF_SANDBOX_AGENT_INPUT_PUMP_HPP

#include <hf/sandbox/agent/client.hpp>
#include <hf/sandbox/agent/run_start.hpp>
#include <hf/sandbox/command.hpp>
#include <hf/sandbox/detail/linked_stop.hpp>
#include <hf/sandbox/detail/retry_pauses.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/body.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/wire/processes.hpp>
#include <hf/sandbox/wire/routes.hpp>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <utility>

namespace hf::detail {

/// A body's text as a reader, so that text and readers go one way.
template <class Reader = http::body_reader>
class text_reader final : public Reader {
 public:
  explicit text_reader(std::string const& text) : text_(text) {}
  [[nodiscard]] std::uint64_t size() const override { return text_.size(); }
  std::size_t read(std::span<std::byte> buffer) override {
    auto const n = (std::min)(buffer.size(), text_.size() - at_);
    std::copy_n(reinterpret_cast<std::byte const*>(text_.data()) + at_, n, buffer.data());
    at_ += n;
    return n;
  }
  void rewind() override { at_ = 0; }

 private:
  std::string const& text_;
  std::size_t at_ = 0;
};

/// A part of a reader. Reading it moves the reader that it is a part of.
template <class Reader = http::body_reader>
class slice_reader final : public Reader {
 public:
  slice_reader(Reader& source, std::uint64_t begin, std::uint64_t size)
      : source_(source), begin_(begin), size_(size) {
    rewind();
  }
  [[nodiscard]] std::uint64_t size() const override { return size_; }
  std::size_t read(std::span<std::byte> buffer) override {
    auto const n = static_cast<std::size_t>((std::min)(std::uint64_t{buffer.size()}, size_ - at_));
    if (n == 0)
      return 0;
    auto const got = source_.read(buffer.first(n));
    if (got == 0)
      throw error(errc::invalid_argument, "an input reader is shorter than its size()");
    at_ += got;
    return got;
  }
  void rewind() override {
    source_.rewind();
    at_ = 0;
    char scratch[16384];
    for (std::uint64_t skip = begin_; skip > 0;) {
      auto const n = static_cast<std::size_t>((std::min)(skip, std::uint64_t{sizeof scratch}));
      auto const got = source_.read(std::as_writable_bytes(std::span(scratch, n)));
      if (got == 0)
        throw error(errc::invalid_argument, "an input reader is shorter than its size()");
      skip -= got;
    }
  }

 private:
  Reader& source_;
  std::uint64_t begin_;
  std::uint64_t size_;
  std::uint64_t at_ = 0;
};

/// Sends a run's standard input while its output is being read on the caller's thread. Pieces are
/// addressed by offset, so one that broke off is sent again without harm.
template <transport Transport>
class input_pump {
 public:
  /// Bytes that one request carries at most.
  static constexpr std::uint64_t piece = 16u << 20;

  /// `fail_run` ends the following of the run when its input fails.
  input_pump(agent_client<Transport>& agent, http::body const& input, linked_stop& fail_run)
      : agent_(agent), input_(input), fail_run_(fail_run) {}
  input_pump(input_pump const&) = delete;
  input_pump& operator=(input_pump const&) = delete;
  ~input_pump() { finish(); }

  /// Begins to send to this run; once.
  void start(run_handle const& handle) {
    if (thread_.joinable())
      return;
    target_ = std::string(wire::processes_route) + "/" + handle.process_id + "/stdin?offset=";
    instance_ = handle.agent_instance;
    thread_ = std::thread([this] { run(); });
  }

  /// Ends the sending (the run has ended, or is given up) and waits for it.
  void finish() {
    done_.request_stop();
    if (thread_.joinable())
      thread_.join();
  }

  /// What the reader threw or the agent refused; null while all is well. After `finish`.
  [[nodiscard]] std::exception_ptr const& failure() const noexcept { return failure_; }

 private:
  void run() {
    try {
      text_reader<> text(input_.text());
      http::body_reader& source = input_.reader() != nullptr ? *input_.reader() : text;
      std::uint64_t const total = source.size();
      std::uint64_t offset = 0;
      retry_pauses pauses(std::chrono::milliseconds(50), std::chrono::milliseconds(2000), {},
                          done_.get_token());
      for (;;) {
        auto const size = (std::min)(piece, total - offset);
        bool const last = offset + size == total;
        auto const wait = [&](error const& failure) { static_cast<void>(pauses.wait(failure)); };
        auto const sent = attempt([&] { return send_piece(source, offset, size, last); }, wait);
        if (sent.over || (sent.done && last))
          return;
        if (sent.done) {
          offset += size;
          pauses.restart();
          continue;
        }
        // Part of the piece may have arrived: go on behind what the agent has.
        auto const asked = attempt([&] { return ask_accepted(offset); }, [](error const&) {});
        if (asked.over)
          return;
        if (asked.done && accepted_ > offset) {
          offset = (std::min)(accepted_, total);
          pauses.restart();
        }
      }
    } catch (...) {
      if (done_.get_token().stop_requested())
        return;
      failure_ = std::current_exception();
      fail_run_.request();
    }
  }

  struct outcome {
    /// The request was answered.
    bool done = false;
    /// The run takes no more input: it has ended, or the sending is no longer wanted.
    bool over = false;
  };

  /// Throws what does not pass; tells `passing` of what may.
  template <class Request, class Passing>
  outcome attempt(Request&& request, Passing&& passing) {
    try {
      request();
      return {.done = true};
    } catch (error const& e) {
      if (done_.get_token().stop_requested())
        return {.over = true};
      // The run has ended, or is not known any more: its own stream tells the caller how.
      if ((e.hop() == hop::agent && (e.http_status() == 404 || e.http_status() == 410)) ||
          e.kind() == errc::op_unknown)
        return {.over = true};
      // 409: another request of ours is still at it.
      if (!may_pass(e) && e.http_status() != 409)
        throw;
      passing(e);
      return {};
    }
  }

  [[nodiscard]] http::request input_request(std::uint64_t offset, bool eof) {
    auto rq = agent_.make_request("POST", target_ + std::to_string(offset) + (eof ? "&eof=1" : ""));
    address_to(rq, instance_);
    rq.fields.set("Content-Type", "application/octet-stream");
    rq.stop = done_.get_token();
    return rq;
  }

  void send_piece(http::body_reader& source, std::uint64_t offset, std::uint64_t size, bool last) {
    auto rq = input_request(offset, last);
    rq.body =
        std::shared_ptr<http::body_reader>(std::make_shared<slice_reader<>>(source, offset, size));
    agent_.call("send input", rq, 1u << 20);
  }

  void ask_accepted(std::uint64_t offset) {
    auto rq = input_request(offset, false);
    rq.body = "";
    accepted_ = wire::accepted_input(agent_.call("ask for the accepted input", rq, 1u << 20).body)
                    .value_or(offset);
  }

  agent_client<Transport>& agent_;
  http::body const& input_;
  linked_stop& fail_run_;
  stop_source done_;
  std::string target_;
  std::string instance_;
  std::uint64_t accepted_ = 0;
  std::exception_ptr failure_;
  std::thread thread_;
};

}  // namespace hf::detail

#endif
