#ifndef HF_SANDBOX_TESTING_CONFORMANCE_BEHAVIOUR_HPP
#define HF_SANDBOX_TESTING_CONFORMANCE_BEHAVIOUR_HPP

#include <hf/sandbox/error.hpp>
#include <hf/sandbox/http/fetch.hpp>
#include <hf/sandbox/http/request.hpp>
#include <hf/sandbox/http/response.hpp>

#include <catch2/catch_test_macros.hpp>

#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdlib>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace hf::conformance {

using namespace std::chrono_literals;

/// One named behaviour of a transport.
struct behaviour {
  char const* name;
  void (*run)();
};
using behaviours = std::vector<behaviour>;

/// Calls and returns the `hf::error` that comes out; fails the test when none does.
template <class Call>
error error_of(Call&& call) {
  try {
    call();
  } catch (error const& caught) {
    return caught;
  }
  FAIL("the call did not fail");
  throw;
}

/// A request that does not wait for long where the test's server misbehaves.
inline http::request get(std::string url) {
  http::request rq;
  rq.url = std::move(url);
  rq.stall_timeout = 30s;
  return rq;
}

inline http::request post(std::string url, http::body content) {
  auto rq = get(std::move(url));
  rq.method = "POST";
  rq.body = std::move(content);
  return rq;
}

/// Something that one thread announces and others wait for.
class event {
 public:
  void set() {
    std::lock_guard const lock(mutex_);
    set_ = true;
    changed_.notify_all();
  }
  /// Whether it was announced within half a minute.
  bool wait() {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, 30s, [&] { return set_; });
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool set_ = false;
};

/// A sink made of two functions.
template <class OnHead, class OnData>
class lambda_sink : public http::response_sink {
 public:
  lambda_sink(OnHead on_head, OnData on_data)
      : on_head_(std::move(on_head)), on_data_(std::move(on_data)) {}
  http::flow on_head(http::response_head const& head) override { return on_head_(head); }
  http::flow on_data(std::span<std::byte const> data) override { return on_data_(data); }

 private:
  OnHead on_head_;
  OnData on_data_;
};

/// A body of one repeated byte, read piece by piece.
class filler : public http::body_reader {
 public:
  explicit filler(std::uint64_t size) : size_(size) {}
  [[nodiscard]] std::uint64_t size() const override { return size_; }
  std::size_t read(std::span<std::byte> buffer) override {
    auto const n = (std::min<std::uint64_t>)(buffer.size(), size_ - at_);
    std::fill_n(buffer.begin(), n, std::byte{'x'});
    at_ += n;
    return static_cast<std::size_t>(n);
  }
  void rewind() override {
    at_ = 0;
    ++rewinds;
  }
  int rewinds = 0;

 private:
  std::uint64_t size_;
  std::uint64_t at_ = 0;
};

/// A body whose pieces a function makes; an empty piece ends it.
template <class Make>
class made_body : public http::body_reader {
 public:
  made_body(std::uint64_t size, Make make) : size_(size), make_(std::move(make)) {}
  [[nodiscard]] std::uint64_t size() const override { return size_; }
  std::size_t read(std::span<std::byte> buffer) override {
    if (piece_.empty())
      piece_ = make_();
    auto const n = (std::min)(buffer.size(), piece_.size());
    std::copy_n(reinterpret_cast<std::byte const*>(piece_.data()), n, buffer.begin());
    piece_.erase(0, n);
    return n;
  }
  void rewind() override {}

 private:
  std::uint64_t size_;
  Make make_;
  std::string piece_;
};

/// Sets or removes a variable of the environment, until the end of the scope.
class scoped_variable {
 public:
  scoped_variable(char const* name, char const* value) : name_(name) {
    if (char const* const old = std::getenv(name)) {
      had_ = true;
      old_ = old;
    }
    put(value);
  }
  scoped_variable(scoped_variable const&) = delete;
  scoped_variable& operator=(scoped_variable const&) = delete;
  ~scoped_variable() { put(had_ ? old_.c_str() : nullptr); }

 private:
  void put(char const* value) const {
#if defined(_WIN32)
    _putenv_s(name_, value == nullptr ? "" : value);
#else
    if (value != nullptr)
      ::setenv(name_, value, 1);
    else
      ::unsetenv(name_);
#endif
  }
  char const* name_;
  bool had_ = false;
  std::string old_;
};

}  // namespace hf::conformance

#endif
