#ifndef HF_SANDBOX_TESTING_FAULT_TRANSPORT_HPP
#define HF_SANDBOX_TESTING_FAULT_TRANSPORT_HPP

#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/response.hpp>
#include <hf/sandbox/http/transport.hpp>
#include <hf/sandbox/http/transport_traits.hpp>
#include <hf/sandbox/testing/wait.hpp>

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>

namespace hf::testing {

/// What a fault does to the I/O step that it hits.
enum class fault {
  /// The step does not happen: the connection is gone.
  drop,
  /// Of data, the first half still passes; then the connection is gone.
  truncate,
  /// The step happens later.
  delay,
};

/// Decorates a transport with faults, to see what a program does when the network breaks.
///
/// The I/O steps of all requests are counted from 1: connecting, each read of the request's body,
/// the answer's head, each piece of its body, its end. A dropped connect step is
/// `errc::connect_failed` and nothing was sent; a drop later is `errc::connection_lost` with
/// `may_have_reached_peer()` - the peer may have acted on the request. Copies share one plan and
/// one inner transport. Safe to use from several threads.
template <transport Inner>
class fault_transport {
 public:
  /// Those of the transport inside.
  static constexpr transport_traits traits = traits_of<Inner>();

  /// Faults before and behind `inner`.
  explicit fault_transport(Inner inner = Inner())
      : state_(std::make_shared<state>(std::move(inner))) {}

  /// Plans one fault at the `step`-th I/O step from now (1 is the next one); replaces an earlier
  /// plan. `time` is for `fault::delay`.
  void plan(std::uint64_t step, fault kind = fault::drop, std::chrono::milliseconds time = {}) {
    std::lock_guard const lock(state_->mutex);
    state_->at = state_->steps + step;
    state_->kind = kind;
    state_->time = time;
    state_->fired = false;
  }
  /// No more faults.
  void clear() {
    std::lock_guard const lock(state_->mutex);
    state_->at = 0;
  }
  /// Whether the planned fault has happened.
  [[nodiscard]] bool fired() const {
    std::lock_guard const lock(state_->mutex);
    return state_->fired;
  }
  /// I/O steps so far.
  [[nodiscard]] std::uint64_t steps() const {
    std::lock_guard const lock(state_->mutex);
    return state_->steps;
  }
  /// The transport inside.
  [[nodiscard]] Inner& inner() noexcept { return state_->inner; }

  /// Performs one request through the inner transport, with the planned fault.
  void send(http::request const& rq, http::response_sink& sink) {
    if (state_->step(rq) != outcome::pass)
      throw transport_error(errc::connect_failed, "planned fault: no connection");
    guarded_sink guard(*state_, rq, sink);
    if (rq.body.reader() == nullptr) {
      state_->inner.send(rq, guard);
    } else {
      auto altered = rq;
      altered.body =
          std::shared_ptr<http::body_reader>(std::make_shared<guarded_reader>(*state_, rq));
      state_->inner.send(altered, guard);
    }
    if (!guard.stopped && state_->step(rq) != outcome::pass)
      lose();
  }

 private:
  enum class outcome { pass, half, none };

  [[noreturn]] static void lose() {
    throw transport_error(errc::connection_lost, "planned fault: the connection is gone");
  }

  struct state {
    explicit state(Inner i) : inner(std::move(i)) {}

    outcome step(http::request const& rq) {
      std::chrono::milliseconds wait{};
      {
        std::lock_guard const lock(mutex);
        if (++steps != at)
          return outcome::pass;
        fired = true;
        if (kind != fault::delay)
          return kind == fault::drop ? outcome::none : outcome::half;
        wait = time;
      }
      pass_time(rq, wait);
      return outcome::pass;
    }

    Inner inner;
    std::mutex mutex = {};
    std::uint64_t steps = 0;
    std::uint64_t at = 0;
    fault kind = fault::drop;
    std::chrono::milliseconds time{};
    bool fired = false;
  };

  struct guarded_sink : http::response_sink {
    guarded_sink(state& s, http::request const& r, http::response_sink& o)
        : shared(s), rq(r), outer(o) {}
    http::flow on_head(http::response_head const& head) override {
      if (shared.step(rq) != outcome::pass)
        lose();
      return note(outer.on_head(head));
    }
    http::flow on_data(std::span<std::byte const> data) override {
      auto const what = shared.step(rq);
      if (what == outcome::none)
        lose();
      if (what == outcome::pass)
        return note(outer.on_data(data));
      if (data.size() > 1)
        static_cast<void>(outer.on_data(data.first(data.size() / 2)));
      lose();
    }
    http::flow note(http::flow f) {
      stopped = stopped || f == http::flow::stop;
      return f;
    }
    state& shared;
    http::request const& rq;
    http::response_sink& outer;
    bool stopped = false;
  };

  struct guarded_reader : http::body_reader {
    guarded_reader(state& s, http::request const& r) : shared(s), rq(r) {}
    [[nodiscard]] std::uint64_t size() const override { return rq.body.size(); }
    std::size_t read(std::span<std::byte> buffer) override {
      if (shared.step(rq) != outcome::pass)
        lose();
      return rq.body.reader()->read(buffer);
    }
    void rewind() override { rq.body.reader()->rewind(); }
    state& shared;
    http::request const& rq;
  };

  std::shared_ptr<state> state_;
};

/// Repeats an operation with the connection lost at its first, second, third... I/O step until it
/// gets through without meeting the fault. Returns how many steps were visited.
///
/// `operation()` may succeed in spite of a fault (it was retried) or throw `hf::error`, which
/// `on_error(step, error)` sees; any other exception passes through.
template <transport Inner, class Operation, class OnError>
std::uint64_t fail_at_every_step(fault_transport<Inner>& through, fault kind, Operation&& operation,
                                 OnError&& on_error) {
  for (std::uint64_t step = 1;; ++step) {
    through.plan(step, kind);
    try {
      operation();
    } catch (error const& e) {
      if (!through.fired())
        throw;
      through.clear();
      on_error(step, e);
      continue;
    }
    if (!through.fired()) {
      through.clear();
      return step - 1;
    }
    through.clear();
  }
}

}  // namespace hf::testing

#endif
