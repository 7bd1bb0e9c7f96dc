"""How each kind of file becomes sections: pure readers from text or bytes, without any index."""
