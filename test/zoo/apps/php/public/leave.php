<?php header("Location: /index.php", true, 303);
