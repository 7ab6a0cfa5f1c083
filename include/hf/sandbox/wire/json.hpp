#ifndef HF_SANDBOX_WIRE_JSON_HPP
#define HF_SANDBOX_WIRE_JSON_HPP

#include <nlohmann/json.hpp>

namespace hf::wire {

/// The JSON value type of the wire: compact output has its keys in alphabetical order.
using json = nlohmann::json;

}  // namespace hf::wire

#endif
