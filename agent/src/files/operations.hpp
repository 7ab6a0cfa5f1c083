#ifndef HF_SANDBOX_AGENT_FILES_OPERATIONS_HPP
#define HF_SANDBOX_AGENT_FILES_OPERATIONS_HPP

#include "context.hpp"
#include "detail/op_registry.hpp"
#include "http/exchange.hpp"

#include <boost/asio/awaitable.hpp>
#include <boost/asio/steady_timer.hpp>

#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace hf::agent {

/// File operations that their callers named by an id, so that one that is sent twice takes effect
/// once. On the event loop's thread only.
class file_operations {
 public:
  /// The right to perform an operation, or the answer that it had already. Destroyed without
  /// `complete` it lets a repetition try again.
  class ticket {
   public:
    ticket() = default;
    ticket(file_operations& owner, std::string op) : owner_(&owner), op_(std::move(op)) {}
    explicit ticket(op_registry::answer replayed) : answer_(std::move(replayed)) {}
    ticket(ticket&& other) noexcept
        : owner_(std::exchange(other.owner_, nullptr)),
          op_(std::move(other.op_)),
          answer_(std::move(other.answer_)) {}
    ticket& operator=(ticket&&) = delete;
    ~ticket();

    /// It was performed before: send `answer` again.
    [[nodiscard]] bool replayed() const { return answer_.what == op_registry::verdict::replay; }
    [[nodiscard]] op_registry::answer const& answer() const { return answer_; }
    /// It took effect, with this answer of status 200.
    void complete(json const& body);

   private:
    file_operations* owner_ = nullptr;
    std::string op_;
    op_registry::answer answer_;
  };

  /// Waits while the same operation is being performed for another connection. Throws `http_error`:
  /// 409 for an id that was used for something else or that another agent was sent, 410 for one
  /// whose answer is no longer kept. An empty `op` always may go on. `body` is the request's body
  /// as far as it was read.
  boost::asio::awaitable<ticket> enter(exchange& ex, context const& shared, std::string op,
                                       std::string_view body = {});

 private:
  using timer = boost::asio::steady_timer;

  void wake(std::string const& op);

  op_registry registry_;
  std::unordered_map<std::string, std::vector<std::shared_ptr<timer>>> waiting_;
};

}  // namespace hf::agent

#endif
