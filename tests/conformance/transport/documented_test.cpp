// The transport that docs/concepts.md shows; CMake copies its code block, word for word.
#include "transport_suite.hpp"

#include <hf/sandbox/transports/curl.hpp>

#include <documented_transport.hpp>

HF_SANDBOX_TRANSPORT_SUITE("documented", counting_transport);
