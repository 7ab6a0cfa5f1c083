#ifndef HF_SANDBOX_AGENT_HTTP_DEADLINES_HPP
#define HF_SANDBOX_AGENT_HTTP_DEADLINES_HPP

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

#include <chrono>

namespace hf::agent {

/// Many deadlines on one timer: thousands of connections cost no timer each. A deadline is noticed
/// at most `granularity` late. Used on the event loop's thread only.
class deadlines {
 public:
  using clock = std::chrono::steady_clock;
  static constexpr clock::time_point never = clock::time_point::max();
  static constexpr std::chrono::milliseconds granularity{50};

  /// Something that has a deadline; known to the list as long as it lives.
  class entry {
   public:
    explicit entry(deadlines& owner);
    entry(entry const&) = delete;
    entry& operator=(entry const&) = delete;
    virtual ~entry();

    /// Calls `expire` once that time has come; `never` takes it back.
    void set_deadline(clock::time_point at) {
      at_ = at;
      if (at < owner_.wake_)
        owner_.arm(at);
    }

   private:
    friend class deadlines;
    virtual void expire() = 0;

    deadlines& owner_;
    clock::time_point at_ = never;
    entry* previous_ = nullptr;
    entry* next_ = nullptr;
  };

  explicit deadlines(boost::asio::io_context& loop) : timer_(loop) {}

 private:
  void arm(clock::time_point at);
  void sweep();

  boost::asio::steady_timer timer_;
  clock::time_point wake_ = never;
  entry* first_ = nullptr;
};

}  // namespace hf::agent

#endif
