#ifndef HF_SANDBOX_AGENT_HTTP_ROUTER_HPP
#define HF_SANDBOX_AGENT_HTTP_ROUTER_HPP

#include "http/exchange.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace hf::agent {

/// Which requests reach which handler; authorisation comes before.
class router {
 public:
  /// Adds a route. `pattern` is like "/v1/processes/{id}/events"; "{name}" matches one segment,
  /// a last "{name...}" matches the rest, also nothing. Method "*" matches every method. GET routes
  /// also answer HEAD.
  void add(std::string_view method, std::string_view pattern, handler handle);

  /// The handler for a request, or null; `path_known` tells whether another method would match.
  [[nodiscard]] handler const* find(std::string_view method, std::vector<std::string> const& path,
                                    bool& path_known) const;

 private:
  struct route {
    std::string method;
    std::vector<std::string> pattern;
    handler handle;
  };
  std::vector<route> routes_;
};

}  // namespace hf::agent

#endif
