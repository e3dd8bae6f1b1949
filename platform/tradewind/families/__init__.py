from dataclasses import dataclass
@dataclass(frozen=True)
class ModelShape:
    vocabulary:int; hidden:int; layers:int; heads:int; kv_heads:int; ffn:int; head_dim:int; context:int; tied:bool=True; rope_theta:float=10000.0; norm_eps:float=1e-5
