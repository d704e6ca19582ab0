"""What a user writes beside maskjax: functions of their own, and configs that name them."""
