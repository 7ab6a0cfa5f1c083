#ifndef HF_SANDBOX_TESTING_SCRIPTED_TRANSPORT_HPP
#define HF_SANDBOX_TESTING_SCRIPTED_TRANSPORT_HPP

#include <hf/sandbox/detail/validate_request.hpp>
#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/response.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/http/transport_traits.hpp>
#include <hf/sandbox/http/url.hpp>
#include <hf/sandbox/testing/script.hpp>
#include <hf/sandbox/testing/wait.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hf::testing {

/// A request with its body read.
[[nodiscard]] inline seen_request read_request(http::request const& rq, http::url const& target) {
  seen_request seen;
  seen.method = rq.method;
  seen.url = rq.url;
  auto const question = target.target.find('?');
  seen.path = target.target.substr(0, question);
  if (question != std::string::npos)
    seen.query = target.target.substr(question + 1);
  seen.fields = rq.fields;
  seen.unix_socket = rq.unix_socket;
  auto* const reader = rq.body.reader();
  if (reader == nullptr) {
    seen.body = rq.body.text();
    return seen;
  }
  reader->rewind();
  auto const size = static_cast<std::size_t>(reader->size());
  std::string block(65536, '\0');
  while (seen.body.size() < size) {
    auto const room = (std::min)(block.size(), size - seen.body.size());
    auto const n = reader->read(std::as_writable_bytes(std::span(block.data(), room)));
    if (n == 0)
      throw transport_error(errc::invalid_argument,
                            "the request's body ended before its announced size");
    seen.body.append(block, 0, n);
  }
  return seen;
}

/// A transport without a network: answers the requests that a test expects.
///
/// Copies share one script, so that a test keeps one while a sandbox owns another. Expectations are
/// found by method and path; among several that fit, the one declared first that is not used up
/// answers, and their order does not matter unless `in_order` asks for it. A request that nobody
/// expects throws `errc::internal` and is reported. Call `verify` at the end. Safe to use from
/// several threads; independent of any test framework.
class scripted_transport {
 public:
  /// What it can do.
  static constexpr transport_traits traits{.name = "scripted"};

  /// Expects a request. `method` may be "*"; `pattern` is "/path", "/path?query" or a whole URL, in
  /// which "*" stands for any characters. Describe the answer with the returned object, before the
  /// request comes.
  expectation& expect(std::string method, std::string pattern) {
    std::lock_guard const lock(state_->mutex);
    state_->script.push_back(std::make_unique<expectation>(std::move(method), std::move(pattern)));
    return *state_->script.back();
  }

  /// From now on, expectations have to be met in the order of their declaration.
  scripted_transport& in_order() {
    std::lock_guard const lock(state_->mutex);
    state_->ordered = true;
    return *this;
  }

  /// The requests that came so far, expected or not.
  [[nodiscard]] std::vector<seen_request> requests() const {
    std::lock_guard const lock(state_->mutex);
    return state_->seen;
  }

  /// What went wrong so far, one line each: unexpected requests, expectations that were not met.
  /// Empty when all is well.
  [[nodiscard]] std::string report() const {
    std::lock_guard const lock(state_->mutex);
    auto out = state_->unexpected;
    for (auto const& e : state_->script)
      if (e->used_ < e->least_)
        out += "expected but not received: " + e->name() + " (" + std::to_string(e->used_) +
               " of " + std::to_string(e->least_) + ")\n";
    return out;
  }

  /// Throws `std::logic_error` with the report when there is one.
  void verify() const {
    if (auto const text = report(); !text.empty())
      throw std::logic_error(text);
  }

  /// Performs one request from the script.
  void send(http::request const& rq, http::response_sink& sink) {
    auto const target = hf::detail::validate_request(rq);
    hf::detail::check_not_over(rq);
    auto seen = read_request(rq, target);
    auto const chosen = choose(seen);
    pass_time(rq, chosen.wait_);
    if (chosen.failure_ && !chosen.failure_->with_head)
      throw transport_error(chosen.failure_->code, chosen.failure_->message);
    if (!chosen.make_)
      return deliver(rq, chosen, chosen.head_, chosen.pieces_, sink);
    auto answer = chosen.make_(seen);
    deliver(rq, chosen, {answer.status, std::move(answer.fields)}, {std::move(answer.body)}, sink);
  }

 private:
  struct state {
    std::mutex mutex = {};
    std::vector<std::unique_ptr<expectation>> script = {};
    std::vector<seen_request> seen = {};
    std::string unexpected = {};
    bool ordered = false;
  };

  /// A copy of the expectation that answers, so that nothing is held while the sink runs.
  expectation choose(seen_request const& rq) {
    std::lock_guard const lock(state_->mutex);
    state_->seen.push_back(rq);
    for (auto& e : state_->script) {
      if (e->used_ < e->most_ && e->fits(rq)) {
        ++e->used_;
        return *e;
      }
      if (state_->ordered && e->used_ < e->least_)
        break;
    }
    auto line = "unexpected request: " + rq.method + " " + rq.url;
    std::string open;
    for (auto const& e : state_->script)
      if (e->used_ < e->most_)
        open += (open.empty() ? "" : ", ") + e->name();
    line += open.empty() ? " (nothing more is expected)" : " (expected: " + open + ")";
    state_->unexpected += line + "\n";
    throw error(errc::internal, line);
  }

  static void deliver(http::request const& rq, expectation const& how,
                      http::response_head const& head, std::vector<std::string> const& pieces,
                      http::response_sink& sink) {
    if (sink.on_head(head) == http::flow::stop || rq.method == "HEAD")
      return;
    std::uint64_t sent = 0;
    for (auto const& piece : pieces) {
      std::string_view part = piece;
      if (how.failure_)
        part = part.substr(0, static_cast<std::size_t>(how.failure_->after - sent));
      pass_time(rq, how.wait_between_);
      if (rq.stop.stop_requested())
        throw transport_error(errc::cancelled, "the request was cancelled");
      if (!part.empty() &&
          sink.on_data(std::as_bytes(std::span(part.data(), part.size()))) == http::flow::stop)
        return;
      sent += part.size();
      if (part.size() < piece.size())
        break;
    }
    if (how.failure_)
      throw transport_error(how.failure_->code, how.failure_->message);
  }

  std::shared_ptr<state> state_ = std::make_shared<state>();
};

static_assert(transport<scripted_transport>);

}  // namespace hf::testing

#endif
